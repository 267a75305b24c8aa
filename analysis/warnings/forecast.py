"""Forecasting a collapse: scores of what is known so far, labels of what came, intervals over runs."""

import numpy as np
from scipy import stats

from analysis.intervals import BoolArray, FloatArray
from analysis.traces import Traces
from analysis.warnings.roc import Pairs, Single

PRIOR = 0.25
"""Weight of the made-up run of the intervals; see `resampled_areas`."""

_PAIRS = 200_000  # resamples times runs


def departure(values: FloatArray) -> FloatArray:
    """Say how far each curve is from its own start, from what is known at each iteration.

        s_t = median(x_{t−2}, x_{t−1}, x_t) − median(x_0, x_1, x_2)

    In the monitor's own unit, which is the same in every run: a scale that all runs share would
    change neither the AUROC nor an alarm.

    Args:
        values: [R, T]; leading NaN are skipped: x_0 is a run's first value.
    Returns:
        [R, T]; NaN before a run's third value.
    """
    if values.shape[1] < 3:
        return np.full(values.shape, np.nan)
    a, b, c = values[:, :-2], values[:, 1:-1], values[:, 2:]
    recent = np.full(values.shape, np.nan)
    recent[:, 2:] = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    first = np.argmax(np.isfinite(recent), axis=1)
    found: FloatArray = recent - recent[np.arange(len(values)), first][:, None]
    return found


def labels(
    steps: FloatArray, last: FloatArray, collapse: FloatArray, horizon: float
) -> tuple[BoolArray, BoolArray]:
    """Say of every moment whether the run collapses within the next `horizon` iterations.

    A moment t is positive if t < collapse ≤ t + horizon, negative if the run was seen to go on to
    t + horizon without; from the collapse on, and where the run ended too early to know, neither.

    Args:
        steps: [T] iterations.
        last: [R] last iteration of each run.
        collapse: [R], NaN for none.
    Returns:
        positive and negative, each [R, T].
    """
    at = np.where(np.isfinite(collapse), collapse, np.inf)[:, None]
    seen = np.where(np.isfinite(collapse), np.inf, last)[:, None]
    positive = (steps < at) & (at <= steps + horizon)
    negative = (at > steps + horizon) & (seen >= steps + horizon)
    return positive, negative


def moments(traces: Traces, score: FloatArray, horizon: float) -> tuple[BoolArray, BoolArray]:
    """Return the positive and the negative moments of a study, each [R, T], that have a score."""
    there = np.isfinite(score)
    positive, negative = labels(traces.steps, traces.last, traces.collapse, horizon)
    return positive & there, negative & there


def draw(runs: int, seed: int = 0) -> Single:
    """Draw bootstrap weights of R runs and the made-up one, [B, R + 1]; B is 400 to 2,000."""
    resamples = int(np.clip(_PAIRS // (runs + 1), 400, 2000))
    rng = np.random.default_rng(seed)
    return rng.multinomial(runs + 1, np.full(runs + 1, 1 / (runs + 1)), resamples).astype(np.float32)


def resampled_areas(pairs: Pairs, direction: float, weights: Single) -> FloatArray:
    """Return the AUROC in one direction under each resampling of the runs, [B].

    With the runs one made-up run is resampled, which has a quarter of the moments of an average run
    and is told from the others at ½. Without it, runs that happen to be told apart without a fault
    would have an interval of no width.
    """
    own, real, made_up = weights[:, pairs.rows], weights[:, :-1], PRIOR * weights[:, -1]
    gain, count = (
        np.sum((own @ part.astype(np.float32)) * real, axis=1, dtype=np.float64)
        for part in (pairs.gain, pairs.count)
    )
    mean_row, mean_column = pairs.count.mean(axis=0), pairs.count.sum(axis=1) / pairs.count.shape[1]
    count += made_up * (real @ mean_row + own @ mean_column + made_up * mean_row.mean())
    found: FloatArray = 0.5 + direction * np.divide(
        gain, count, out=np.full(len(weights), np.nan), where=count > 0
    )
    return found


def interval_of(resampled: FloatArray, smaller: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval, expanded for the smaller of the two groups of runs.

        α'/2 = Φ(−√(n/(n−1)) · t_{0.975, n−1})      n = min(runs that collapsed, runs that held)

    Source: Hesterberg 2015, arXiv:1411.5279, section 3.4 (expanded percentile).
    """
    there = np.extract(np.isfinite(resampled), resampled)
    if smaller < 2 or not there.size:
        return float("nan"), float("nan")
    student = stats.t.ppf(0.975, smaller - 1)
    tail = stats.norm.cdf(-np.sqrt(smaller / (smaller - 1)) * student)
    low, high = np.quantile(there, (tail, 1 - tail))
    return float(low), float(high)
