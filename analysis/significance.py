"""Tests and power for paired seeds: sign flips, Holm's correction, what a study can detect.

n paired seeds cannot give a two-sided sign-flip p below 2/2ⁿ: 0.25 at three, 0.0625 at five, 0.03
at six.
"""

from functools import cache
from itertools import product

import numpy as np
from scipy import optimize, stats

from analysis.intervals import LEVEL, MIN_SEEDS, FloatArray, IntArray, floats

POWER = 0.8
"""Share of studies that are to find a difference for it to count as detectable."""

EXACT_SEEDS = 12
"""Most seeds of which all flips are counted; of more, random ones are."""

_FLIPS = 20_000
_CHUNK = 4_000_000


def sign_flip_p(differences: FloatArray, *, seed: int = 0) -> FloatArray:
    """Return the two-sided p of paired differences under flips of their signs.

    Exact over all 2ⁿ flips up to n = 12; beyond, (1 + hits)/(1 + 20,000) of random flips.

    Args:
        differences: [S, K]; NaN are left out column by column.
        seed: of the random flips.
    Returns:
        [K]; NaN where no difference is left.
    """
    count = np.sum(~np.isnan(differences), axis=0)
    found = np.full(differences.shape[1], np.nan)
    packed = np.take_along_axis(differences, np.argsort(np.isnan(differences), axis=0), axis=0)
    for n in np.unique(count[count > 0]):
        columns = np.flatnonzero(count == n)
        found[columns] = _flipped(packed[:n, columns], seed)
    return found


def _flipped(values: FloatArray, seed: int) -> FloatArray:
    """Return p [K] of differences [n, K] without NaN."""
    n, is_exact = len(values), len(values) <= EXACT_SEEDS
    if is_exact:  # the first sign may stay: flipping all changes no distance from zero
        signs = np.array([(1.0, *rest) for rest in product((-1.0, 1.0), repeat=n - 1)])
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), (_FLIPS, n))
    observed = np.abs(values.sum(axis=0)) * (1 - 1e-12)  # equal sums must count as equal after rounding
    wide = max(1, _CHUNK // len(signs))
    hits = [
        np.sum(np.abs(signs @ values[:, at : at + wide]) >= observed[at : at + wide], axis=0)
        for at in range(0, values.shape[1], wide)
    ]
    spare = 0 if is_exact else 1
    return floats((np.concatenate(hits) + spare) / (len(signs) + spare))


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


def detectable_difference(standard_error: FloatArray, degrees: IntArray) -> FloatArray:
    """Return the true difference that a study of this size and spread finds with a power of 80 %.

        δ · standard error,   P(T'_ν(δ) > t₀.₉₇₅,ᵥ) = 0.8

    Finds: the t interval lies above zero. T' is noncentral t.

    Args:
        standard_error: [K] of the estimates.
        degrees: [K] degrees of freedom ν behind them; n − 1 for n paired seeds.
    Returns:
        [K]; NaN where ν is too small for an interval.
    """
    shift = {int(v): _shift(int(v)) for v in np.unique(degrees)}
    return standard_error * np.array([shift[int(v)] for v in degrees], dtype=np.float64)


@cache
def _shift(degrees: int) -> float:
    """Return the noncentrality δ at which a t interval lies above zero with a power of 80 %."""
    if degrees < MIN_SEEDS - 1:
        return float("nan")
    critical = stats.t.ppf(0.5 + LEVEL / 2, degrees)
    miss = lambda shift: float(stats.nct.cdf(critical, degrees, shift)) - (1 - POWER)  # noqa: E731
    return float(optimize.brentq(miss, 0.0, 2 * critical + 5.0))


def seeds_needed(sd: float, difference: float) -> int:
    """Return how many paired seeds find a true difference with a power of 80 %.

    Args:
        sd: standard deviation of the paired differences.
        difference: true difference of interest, in the same unit; its sign does not count.
    Raises:
        ValueError: if the difference is zero.
    """
    if difference == 0:
        raise ValueError("no number of seeds finds a difference of zero: name one of interest")
    ratio = sd / abs(difference)
    z = stats.norm.ppf(0.5 + LEVEL / 2) + stats.norm.ppf(POWER)
    n = max(MIN_SEEDS, int((z * ratio) ** 2))  # fewer cannot do: t is wider than the normal
    while _shift(n - 1) * ratio / np.sqrt(n) > 1:
        n += 1
    return n


def seeds_for_precision(sd: float, half_width: float) -> int:
    """Return how many paired seeds give a 95 % interval of this half-width, at this spread.

    Args:
        sd: standard deviation of the paired differences.
        half_width: wanted distance from the estimate to either end, in the same unit.
    Raises:
        ValueError: if half_width is not positive.
    """
    if half_width <= 0:
        raise ValueError(f"half_width must be positive, got {half_width}")
    n = max(MIN_SEEDS, int((stats.norm.ppf(0.5 + LEVEL / 2) * sd / half_width) ** 2))
    while stats.t.ppf(0.5 + LEVEL / 2, n - 1) * sd / np.sqrt(n) > half_width:
        n += 1
    return n
