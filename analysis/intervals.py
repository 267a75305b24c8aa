"""Intervals of few seeds: means by Student's t, interquartile means by the bootstrap. NumPy and SciPy.

Which interval is used where was decided by how often each covers the truth; `make calibrate` measures
it and docs/statistics.md says what was found. Fewer than three seeds give none: the ends are NaN.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MIN_SEEDS = 3
"""Fewest seeds for which an interval is given."""

MIN_BOOTSTRAP = 5
"""Fewest seeds that are resampled; percentile intervals of fewer are far too short."""

LEVEL = 0.95

_CHUNK = 4_000_000  # resampled values held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval (NaN below MIN_SEEDS) and the seeds behind it."""

    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Intervals:
    """K intervals at once: estimate, low, high and n, each [K]."""

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    n: IntArray


def floats(values: npt.ArrayLike) -> FloatArray:
    """Return numbers, a table or a column as an array of doubles."""
    return np.asarray(values, dtype=np.float64)


def mean(values: FloatArray, axis: int = 0) -> FloatArray:
    """Return the mean of what is not NaN; NaN where nothing is."""
    count = np.sum(~np.isnan(values), axis=axis)
    total = np.nansum(values, axis=axis)
    empty = np.full(np.shape(total), np.nan)
    found: FloatArray = np.divide(total, count, out=empty, where=count > 0)
    return found


def deviation(values: FloatArray) -> FloatArray:
    """Return the standard deviation (n − 1) over the first axis; NaN below two values."""
    count = np.sum(~np.isnan(values), axis=0)
    square = np.nansum((values - mean(values)) ** 2, axis=0)
    empty = np.full(np.shape(square), np.nan)
    found: FloatArray = np.sqrt(np.divide(square, count - 1, out=empty, where=count > 1))
    return found


def iqm(values: FloatArray, axis: int = 0) -> FloatArray:
    """Return the interquartile mean: the mean after ⌊n/4⌋ values are cut from either end.

    Args:
        values: the n values lie along `axis`; NaN are left out, so n may differ between columns.
    Returns:
        values without `axis`; NaN where no value is left.
    Source: Agarwal et al. 2021, arXiv:2108.13264; equals scipy.stats.trim_mean(values, 0.25).
    """
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)  # NaN go last
    count = np.sum(~np.isnan(ordered), axis=-1, keepdims=True)
    place = np.arange(ordered.shape[-1])
    cut = count // 4
    return mean(np.where((place >= cut) & (place < count - cut), ordered, np.nan), -1)


def interval(values: FloatArray) -> Interval:
    """Estimate the mean of n values with its interval; see `mean_intervals`.

    Args:
        values: [n]; NaN are left out.
    """
    found = mean_intervals(values[:, None])
    ends = (float(found.estimate[0]), float(found.low[0]), float(found.high[0]))
    return Interval(*ends, int(found.n[0]))


def share_interval(hits: int, n: int) -> Interval:
    """Estimate the share of n runs of which so many did, with its exact interval (Clopper, Pearson)."""
    if not n:
        return Interval(np.nan, np.nan, np.nan, 0)
    ends = stats.binomtest(hits, n).proportion_ci(LEVEL, method="exact")
    return Interval(hits / n, float(ends.low), float(ends.high), n)


def mean_intervals(values: FloatArray) -> Intervals:
    """Estimate means over seeds, each with its 95 % interval by Student's t.

        x̄ ± t₀.₉₇₅,ₙ₋₁ · s / √n

    Exact for normal values at any n ≥ 3. Of differences between two arms that do not differ, which are
    symmetric whatever the arms' own values are like, it covers at least as often as it says.

    Args:
        values: [S, K], seeds by quantities; NaN are left out column by column.
    """
    count = np.sum(~np.isnan(values), axis=0)
    centre, half = mean(values), _half_width(values, count)
    return Intervals(centre, centre - half, centre + half, count)


def _half_width(values: FloatArray, count: IntArray) -> FloatArray:
    student = stats.t.ppf(0.5 + LEVEL / 2, np.maximum(count - 1, 1))
    half = student * deviation(values) / np.sqrt(np.maximum(count, 1))
    return np.where(count >= MIN_SEEDS, half, np.nan)


def curve_interval(
    values: FloatArray, *, resamples: int = 1_000, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Estimate the interquartile mean over seeds at every step, with its 95 % interval.

    From five seeds on by the bootstrap, with wider quantiles of the resamples than 2.5 and 97.5 %, which
    put Student's t where the plain percentile interval has the normal's z:

        α'/2 = Φ(−t_{1−α/2, n−1})

    With three and four seeds, whose resamples lie too close, it is iqm ± t s/√n as for a mean.

    Args:
        values: [S, T], seeds by steps; NaN are left out column by column.
    Returns:
        interquartile mean, low and high, each [T]; low and high NaN below MIN_SEEDS values.
    Source: after Hesterberg 2015, arXiv:1411.5279, section 3.4 (expanded percentile), whose further
        factor √(n/(n−1)) is for means: of interquartile means it covers more than 97 % at ten seeds.
    """
    count = np.sum(~np.isnan(values), axis=0)
    centre, half = iqm(values), _half_width(values, count)
    low, high = centre - half, centre + half
    ordered = np.sort(values, axis=0)  # NaN go last
    wide = max(1, _CHUNK // resamples)
    for n in np.unique(count[count >= MIN_BOOTSTRAP]):
        columns, tail = np.flatnonzero(count == n), _student_tail(int(n))
        for start in range(0, len(columns), wide):
            some = columns[start : start + wide]
            resampled = iqm_resamples(ordered[:n, some], resamples, seed)
            low[some], high[some] = _tails(resampled, tail)
    return centre, low, high


def iqm_resamples(ordered: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Return interquartile means [R, T] of resamples of columns that are sorted and without NaN.

    The interquartile mean of a resample is linear in the sorted values, so that all are one product.

    Args:
        ordered: [n, T], ascending along the first axis.
        resamples: R.
        seed: of the draws, which all columns share.
    """
    return _resample_weights(len(ordered), resamples, seed) @ ordered


@lru_cache(maxsize=64)
def _resample_weights(n: int, resamples: int, seed: int) -> FloatArray:
    """Return the weight [R, n] that each sorted value has in each resample's interquartile mean."""
    draw = np.sort(np.random.default_rng(seed).integers(0, n, (resamples, n)), axis=1)
    kept = draw[:, n // 4 : n - n // 4]
    weight = np.stack([np.sum(kept == place, axis=1) for place in range(n)], axis=1)
    return floats(weight / kept.shape[1])


def _student_tail(n: int) -> float:
    return float(stats.norm.cdf(-stats.t.ppf(0.5 + LEVEL / 2, n - 1)))


def _tails(resampled: FloatArray, tail: float) -> tuple[FloatArray, FloatArray]:
    """Return the values [T] that a share `tail` of the resamples [R, T] lies below, and above."""
    last = len(resampled) - 1
    place = int(np.floor(tail * last))
    ordered = np.partition(resampled, (place, last - place), axis=0)
    return ordered[place], ordered[last - place]
