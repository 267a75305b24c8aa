"""Pairs of moments counted by pairs of runs: the area under the ROC curve, learnt from other runs.

The area is the share of pairs (a moment before a collapse, a moment that no collapse follows) in
which the first has the higher score. Moments of one run hang together, so that pairs of runs are what
is counted, left out and resampled.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.intervals import BoolArray, FloatArray, IntArray

CLASSES = 512
"""Scores are told apart exactly up to this many different values, else in as many equal classes."""

LANDMARKS = 32
"""Iterations at which moments of the same iteration are compared, evenly spread."""

DIRECTIONS = {1.0: "up", -1.0: "down", 0.0: "none"}
"""What a sign says: high values announce, low values do, or it cannot be learnt."""

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pairs:
    """Pairs of moments, counted by pairs of runs: E runs with positive moments against all R.

    Attributes:
        rows: [E] which runs have positive moments.
        gain: [E, R] pairs in which the positive moment has the higher score, less half of all.
        count: [E, R] all pairs.
    """

    rows: IntArray
    gain: FloatArray
    count: FloatArray

    def only(self, which: BoolArray) -> "Pairs":
        """Keep some pairs of runs: which [R, R]."""
        kept = which[self.rows]
        return Pairs(self.rows, self.gain * kept, self.count * kept)

    @property
    def smaller(self) -> int:
        """The lesser of the runs with positive and the runs with negative moments, among the pairs."""
        return int(min(self.count.any(axis=1).sum(), self.count.any(axis=0).sum()))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def classes_of(score: FloatArray) -> IntArray:
    """Number the scores in their order, equal ones alike; see CLASSES. NaN get the last number."""
    there = score[np.isfinite(score)]
    bounds = np.unique(there)
    if len(bounds) > CLASSES:
        bounds = np.unique(np.quantile(there, np.arange(1, CLASSES) / CLASSES))
    return np.searchsorted(bounds, score).astype(np.int64)


def pairs_of(classes: IntArray, positive: BoolArray, negative: BoolArray) -> Pairs:
    """Count all pairs of moments.

    Args:
        classes: [R, T] of `classes_of`.
        positive, negative: [R, T], False where a score is missing.
    """
    rows = np.flatnonzero(positive.any(axis=1))
    size = int(classes.max(initial=0)) + 1
    above = _histogram(classes[rows], positive[rows], size)
    below = _histogram(classes, negative, size)
    lower = np.cumsum(below, axis=1) - 0.5 * below  # a tie counts half
    count = np.outer(above.sum(axis=1), below.sum(axis=1)).astype(np.float64)
    return Pairs(rows, (above @ lower.T).astype(np.float64) - 0.5 * count, count)


def _histogram(classes: IntArray, which: BoolArray, size: int) -> Single:
    """Count each run's moments by class, [R, size]; single precision holds such counts exactly."""
    cell = (np.arange(len(classes))[:, None] * size + classes)[which]
    return np.bincount(cell, minlength=len(classes) * size).reshape(-1, size).astype(np.float32)


def pairs_of_one_time(classes: IntArray, positive: BoolArray, negative: BoolArray) -> Pairs:
    """Count pairs of moments of the same iteration, at up to LANDMARKS iterations that have any."""
    rows = np.flatnonzero(positive.any(axis=1))
    gain, count = np.zeros((2, len(rows), len(classes)))
    there = np.flatnonzero(positive.any(axis=0) & negative.any(axis=0))
    if len(there) > LANDMARKS:
        there = there[np.linspace(0, len(there) - 1, LANDMARKS).round().astype(int)]
    for at in there:
        high, low = np.flatnonzero(positive[rows, at]), np.flatnonzero(negative[:, at])
        sign = np.sign(classes[rows[high], at][:, None] - classes[low, at])
        gain[np.ix_(high, low)] += 0.5 * sign
        count[np.ix_(high, low)] += 1.0
    return Pairs(rows, gain, count)


def directions(pairs: Pairs) -> FloatArray:
    """Learn for every pair of runs, from all other runs, whether high or low scores announce.

    Returns:
        [E, R] of 1 (high), −1 (low), 0 (cannot be learnt).
    Source: leave-pair-out, Airola et al. 2011, doi:10.1016/j.csda.2010.11.023: scores pooled over
        folds whose directions were learnt without one run at a time would put noise below ½.
    """
    rows, gain = pairs.rows, pairs.gain
    touched = gain.sum(axis=0)
    touched[rows] += gain.sum(axis=1)
    own = np.zeros(gain.shape[1])
    own[rows] = gain[np.arange(len(rows)), rows]
    back = np.zeros(gain.shape)
    back[:, rows] = gain[:, rows].T
    left = gain.sum() - touched[rows, None] - touched + own[rows, None] + own + gain + back
    left[np.arange(len(rows)), rows] = gain.sum() - touched[rows] + own[rows]
    found: FloatArray = np.sign(left)  # exact: sums of halves
    return found


def directions_by_run(pairs: Pairs) -> FloatArray:
    """Learn for every run the direction from all other runs: [R] of 1, −1, 0."""
    touched = pairs.gain.sum(axis=0)
    touched[pairs.rows] += pairs.gain.sum(axis=1)
    touched[pairs.rows] -= pairs.gain[np.arange(len(pairs.rows)), pairs.rows]
    found: FloatArray = np.sign(pairs.gain.sum() - touched)
    return found


def held_out_area(pairs: Pairs, learnt: FloatArray) -> float:
    """Return the AUROC with each pair of runs scored in the direction learnt from the others."""
    return 0.5 + _ratio(float((learnt * pairs.gain).sum()), float(pairs.count.sum()))
