"""Statistics of few seeds: interquartile mean, bootstrap intervals, sign-flip test. NumPy and SciPy.

What few seeds can show. Fewer than three give no interval: its ends are NaN. n paired seeds cannot
give a two-sided sign-flip p below 2/2ⁿ: 0.25 at three, 0.0625 at five, 0.03 at six. A percentile
interval lies within the data's own range, so that three seeds cover a mean in at most 75 % of
studies, four in 87.5 % and five in 94 %, whatever level was asked for; docs/report.md has what was
measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

FloatArray = npt.NDArray[np.float64]
Statistic = Callable[[FloatArray, int], FloatArray]

MIN_SEEDS = 3
"""Fewest seeds for which an interval is given."""

_CHUNK = 4_000_000  # resampled values held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval (NaN below MIN_SEEDS) and the seeds behind it."""

    estimate: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside; False where there is no interval."""
        return self.low > 0 or self.high < 0


def mean(values: FloatArray, axis: int = 0) -> FloatArray:
    """Return the mean of what is not NaN; NaN where nothing is."""
    count = np.sum(~np.isnan(values), axis=axis)
    total = np.nansum(values, axis=axis)
    empty = np.full(np.shape(total), np.nan)
    found: FloatArray = np.divide(total, count, out=empty, where=count > 0)
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


def interval(
    values: FloatArray,
    *,
    statistic: Statistic = mean,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Estimate a statistic of n values with its bootstrap interval; see `curve_interval`.

    Args:
        values: [n]; NaN are left out.
    """
    kept = values[~np.isnan(values)]
    if not len(kept):
        return Interval(np.nan, np.nan, np.nan, 0)
    centre, low, high = curve_interval(
        kept[:, None], statistic=statistic, level=level, resamples=resamples, seed=seed
    )
    return Interval(float(centre[0]), float(low[0]), float(high[0]), len(kept))


def curve_interval(
    values: FloatArray,
    *,
    statistic: Statistic = iqm,
    level: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Estimate a statistic over seeds at every step, with expanded percentile bootstrap intervals.

    The plain percentile interval is too short for few values, by √((n−1)/n) in its standard error
    and by taking z for t. Both are put right by asking for wider quantiles of the same resamples:

        α'/2 = Φ(−√(n/(n−1)) · t_{1−α/2, n−1})

    Args:
        values: [S, T], seeds by steps; NaN are left out column by column.
    Returns:
        statistic, low and high, each [T]; low and high NaN where fewer than MIN_SEEDS have a value.
    Source: Hesterberg 2015, arXiv:1411.5279, section 3.4 (expanded percentile).
    """
    seeds, steps = values.shape
    low, high = np.full(steps, np.nan), np.full(steps, np.nan)
    count = np.sum(~np.isnan(values), axis=0)
    wide = max(1, _CHUNK // max(1, resamples * seeds))
    rng = np.random.default_rng(seed)
    for n in np.unique(count[count >= MIN_SEEDS]):
        columns = np.flatnonzero(count == n)
        packed = np.sort(values[:, columns], axis=0)[:n]  # the n values that are there
        draw = rng.integers(0, n, (resamples, n))
        tail = _expanded_tail(int(n), level)
        for start in range(0, len(columns), wide):
            some = columns[start : start + wide]
            resampled = statistic(packed[:, start : start + wide][draw], 1)
            low[some], high[some] = np.quantile(resampled, (tail, 1.0 - tail), axis=0)
    return statistic(values, 0), low, high


def _expanded_tail(n: int, level: float) -> float:
    student = stats.t.ppf(0.5 + level / 2, n - 1)
    return float(stats.norm.cdf(-np.sqrt(n / (n - 1)) * student))


def paired_difference(arm: FloatArray, baseline: FloatArray, *, seed: int = 0) -> Interval:
    """Estimate the mean of arm − baseline over shared seeds, resampling seeds.

    Args:
        arm, baseline: [n], same seeds in the same order; a pair with a NaN is left out.
    Raises:
        ValueError: if the two differ in length.
    """
    _check_paired(arm, baseline)
    return interval(arm - baseline, seed=seed)


def _check_paired(arm: FloatArray, baseline: FloatArray) -> None:
    if arm.shape != baseline.shape:
        sizes = f"{len(arm)} and {len(baseline)}"
        raise ValueError(f"a paired comparison needs the same seeds in both arms, got {sizes}")


def probability_of_improvement(
    arm: FloatArray, baseline: FloatArray, *, seed: int = 0, resamples: int = 10_000
) -> Interval:
    """Estimate P(a run of the arm beats a run of the baseline), a tie counting ½.

        (1/n²) Σᵢ Σⱼ [xᵢ > yⱼ] + ½ [xᵢ = yⱼ]

    Over all pairs of runs, as rliable; the interval resamples seeds, jointly in both arms.

    Args:
        arm, baseline: [n], same seeds in the same order; a pair with a NaN is left out.
    Raises:
        ValueError: if the two differ in length.
    Source: Agarwal et al. 2021, arXiv:2108.13264.
    """
    _check_paired(arm, baseline)
    there = ~np.isnan(arm) & ~np.isnan(baseline)
    x, y = arm[there], baseline[there]
    n = len(x)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    if n < MIN_SEEDS:
        return Interval(float(wins.mean()), np.nan, np.nan, n)
    draw = np.random.default_rng(seed).integers(0, n, (resamples, n))
    weight = np.stack([np.sum(draw == i, axis=1) for i in range(n)], axis=1) / n
    resampled = np.einsum("ri,ij,rj->r", weight, wins, weight).round(12)
    tail = _expanded_tail(n, 0.95)
    low, high = np.quantile(resampled, (tail, 1.0 - tail))
    return Interval(float(wins.mean()), float(low), float(high), n)


def sign_flip_p(differences: FloatArray, *, resamples: int = 20_000, seed: int = 0) -> float:
    """Return the two-sided p of paired differences under flips of their signs.

    Exact over all 2ⁿ flips up to n = 12; beyond, (1 + hits)/(1 + resamples) of random flips.

    Args:
        differences: [n]; NaN are left out. NaN is returned where none is left.
    """
    kept = differences[~np.isnan(differences)]
    n = len(kept)
    if n == 0:
        return float("nan")
    observed = abs(kept.sum()) * (1 - 1e-12)  # equal sums must count as equal after rounding
    if n <= 12:
        signs = np.array(list(product((-1.0, 1.0), repeat=n)))
        return float(np.mean(np.abs(signs @ kept) >= observed))
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (resamples, n))
    return float((1 + np.sum(np.abs(signs @ kept) >= observed)) / (1 + resamples))


def smallest_p(n: int) -> float:
    """Return the smallest two-sided sign-flip p that n paired seeds can give, 2/2ⁿ."""
    return 2.0 / 2.0**n if n else float("nan")


def holm(p: FloatArray) -> FloatArray:
    """Adjust a family of p for multiple testing; NaN stay NaN and do not count.

        p̃₍ᵢ₎ = max_{j ≤ i} min(1, (m − j + 1) p₍ⱼ₎)

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: np.sum(~np.isnan(p))]  # NaN sort last
    factor = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factor))
    return adjusted


def detectable_difference(differences: FloatArray, *, power: float = 0.8, level: float = 0.95) -> float:
    """Return the true mean difference that a study of this size and spread finds with this power.

    Finds: the paired t interval at `level` lies above zero. Solved from the noncentral t.

    Args:
        differences: [n] paired differences; NaN are left out. NaN is returned below MIN_SEEDS.
    """
    kept = differences[~np.isnan(differences)]
    n = len(kept)
    if n < MIN_SEEDS:
        return float("nan")
    critical = stats.t.ppf(0.5 + level / 2, n - 1)

    def shortfall(shift: float) -> float:
        return float(stats.nct.sf(critical, n - 1, shift)) - power

    bracket = critical
    while shortfall(bracket) < 0:
        bracket *= 1.5
    shift = optimize.brentq(shortfall, 0.0, bracket)
    return float(shift * kept.std(ddof=1) / np.sqrt(n))
