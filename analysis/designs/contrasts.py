"""Estimate linear contrasts between arms, from differences between seeds or from pooled residuals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from analysis import significance
from analysis.comparison import verdicts
from analysis.intervals import LEVEL, FloatArray, Intervals, deviation, mean_intervals

SEEDS, POOLED = "seeds", "pooled"
"""Where the spread comes from: one estimate a seed, which assumes nothing of the arms' spread; or the
residuals of arm + seed, which assume that every arm's runs spread alike."""

MIN_BLOCKS = 5
"""Fewest complete seeds from which the spread between seeds is used."""

LINKED = 1e-9
"""Weight of a difference between seeds that are not linked, below which it is rounding."""

COLUMNS = [
    *("effect", "low", "high", "n", "sd", "p", "smallest_p", "detectable", "method", "verdict"),
]


def estimate(contrasts: FloatArray, values: FloatArray, method: str | None = None) -> pd.DataFrame:
    """Estimate contrasts Σₐ cₐ yₐ with their intervals.

    Args:
        contrasts: [E, A], each summing to zero over the arms; NaN where there is no such contrast.
        values: [S, A], seeds by arms; NaN where a run is missing.
        method: SEEDS or POOLED; by default SEEDS where at least MIN_BLOCKS seeds have every arm
            that the contrasts use, as the pooled spread is nearer to the truth with fewer.
    Returns:
        COLUMNS, one row a contrast. n is the number of seeds; sd is over seeds, or pooled.
    """
    by_seed = _by_seed(contrasts, values)
    complete = int(np.min(np.sum(~np.isnan(by_seed), axis=0), initial=len(values)))
    chosen = method or (SEEDS if complete >= MIN_BLOCKS else POOLED)
    if chosen == POOLED and np.sum(~np.isnan(values)) > values.shape[1] + len(values) - 1:
        return _pooled(contrasts, values)
    return _from_seeds(by_seed)


def _by_seed(contrasts: FloatArray, values: FloatArray) -> FloatArray:
    """Return each seed's estimates [S, E]; NaN where an arm that counts is missing."""
    uses = (np.nan_to_num(contrasts, nan=1.0) != 0).astype(float)
    lacks = np.isnan(values).astype(float) @ uses.T > 0
    return np.where(lacks, np.nan, np.nan_to_num(values) @ contrasts.T)


def _from_seeds(by_seed: FloatArray) -> pd.DataFrame:
    found, sd = mean_intervals(by_seed), deviation(by_seed)
    error = sd / np.sqrt(np.maximum(found.n, 1))
    floors = [significance.smallest_p(int(n)) for n in found.n]
    p = significance.sign_flip_p(by_seed)
    detectable = significance.detectable_difference(error, found.n - 1)
    return _table(found, sd=sd, p=p, smallest_p=floors, detectable=detectable, method=SEEDS)


def _pooled(contrasts: FloatArray, values: FloatArray) -> pd.DataFrame:
    """Fit value = arm + seed by least squares; the residuals give one spread for all.

    The arms are projected out, so that what is solved has the size of the seeds.
    """
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    share = there / np.maximum(count, 1)  # [S, A]: seeds' shares in each arm's mean
    arm_mean = np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
    seed_at, arm_at = np.nonzero(there)
    seeds = (np.eye(len(values))[seed_at] - share.T[arm_at])[:, 1:]
    gram = seeds.T @ seeds
    inverse = np.linalg.pinv(gram)
    within = values[seed_at, arm_at] - arm_mean[arm_at]
    shift = inverse @ (seeds.T @ within)
    degrees = len(within) - int(np.sum(count > 0)) - int(np.linalg.matrix_rank(seeds))
    sd = float(np.sqrt(np.sum((within - seeds @ shift) ** 2) / degrees))
    leverage = contrasts @ share.T[:, 1:]
    # where no arm links some seeds with others, an arm of these less one of those is the seeds' doing
    unlinked = leverage @ (np.eye(len(gram)) - gram @ inverse)
    is_known = np.all(np.abs(unlinked) < LINKED, axis=1)
    effect = np.where(is_known, _by_seed(contrasts, arm_mean[None])[0] - leverage @ shift, np.nan)
    per_arm = np.sum(contrasts**2 / np.maximum(count, 1), axis=1)
    error = sd * np.sqrt(per_arm + np.einsum("es,st,et->e", leverage, inverse, leverage))
    half = stats.t.ppf(0.5 + LEVEL / 2, degrees) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(np.abs(effect) / error, degrees)
    n = np.where(np.isnan(effect), 0, int(there.any(axis=1).sum()))
    found = Intervals(effect, effect - half, effect + half, n)
    detectable = significance.detectable_difference(error, np.full(len(effect), degrees))
    return _table(found, sd=sd, p=p, smallest_p=0.0, detectable=detectable, method=POOLED)


def _table(
    found: Intervals,
    *,
    sd: FloatArray | float,
    p: FloatArray,
    smallest_p: Sequence[float] | float,
    detectable: FloatArray,
    method: str,
) -> pd.DataFrame:
    table = pd.DataFrame({"effect": found.estimate, "low": found.low, "high": found.high, "n": found.n})
    table = table.assign(sd=sd, p=p, smallest_p=smallest_p, detectable=detectable, method=method)
    return table.assign(verdict=verdicts(found.low, found.high))[COLUMNS]
