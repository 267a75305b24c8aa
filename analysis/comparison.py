"""Compare paired values: difference, interval, p, detectable difference, chance of improvement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis import significance
from analysis.intervals import (
    LEVEL,
    MIN_SEEDS,
    FloatArray,
    IntArray,
    Intervals,
    curve_interval,
    deviation,
    floats,
    mean,
    mean_intervals,
)
from workbench.glossary import metric

FOUND, NONE, TOO_FEW = "difference", "no difference found", "too few seeds"

COLUMNS = [
    *("arm", "against", "metric", "n", "mean", "mean_against", "difference", "low", "high", "sd"),
    *("p", "p_holm", "smallest_p", "detectable", "iqm", "iqm_low", "iqm_high"),
    *("improvement", "improvement_low", "improvement_high", "verdict"),
]

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Pair:
    """What is compared: a metric of an arm and of another, by the seeds that they share."""

    arm: str
    against: str
    metric: str
    own: "pd.Series[float]"
    other: "pd.Series[float]"


def compare(pairs: Sequence[Pair]) -> pd.DataFrame:
    """Compare one family of pairs, over the seeds at which both have a value.

    Returns:
        COLUMNS, one row a pair with at least one such seed: n seeds; mean and mean_against over them;
        difference with its interval low, high, and sd over seeds; p by sign flips, p_holm over the
        family, and the smallest p that n seeds can give; detectable (80 % power); iqm, the
        interquartile mean of the differences, with its bootstrap interval; improvement, the chance
        that a run of the arm is better than one of the other, NaN for a metric without a good
        direction; verdict.
    """
    names = [(pair.arm, pair.against, pair.metric) for pair in pairs]
    seeds = sorted({seed for pair in pairs for seed in pair.own.index.intersection(pair.other.index)})
    own, other = _table([p.own for p in pairs], seeds), _table([p.other for p in pairs], seeds)
    there = ~np.isnan(own) & ~np.isnan(other)
    own, other = np.where(there, own, np.nan), np.where(there, other, np.nan)
    table = pd.DataFrame(names, columns=["arm", "against", "metric"])
    table = table.assign(**_measures(own, other), **_improvement(table["metric"], own, other))
    table = table[table["n"] > 0].reset_index(drop=True)
    table["p_holm"] = significance.holm(floats(table["p"]))
    return table[COLUMNS]


def _table(columns: Sequence["pd.Series[float]"], seeds: Sequence[int]) -> FloatArray:
    """Line up [S, K] by seed."""
    if not columns:
        return np.empty((0, 0))
    return np.stack([floats(column.reindex(list(seeds))) for column in columns], axis=1)


def _measures(own: FloatArray, other: FloatArray) -> dict[str, FloatArray | IntArray | list[str]]:
    """Return everything that is said of the differences own − other, each [K]."""
    difference = own - other
    found, sd = mean_intervals(difference), deviation(difference)
    centre, low, high = curve_interval(difference, resamples=_RESAMPLES)
    error = sd / np.sqrt(np.maximum(found.n, 1))
    return {
        "n": found.n,
        "mean": mean(own),
        "mean_against": mean(other),
        "difference": found.estimate,
        "low": found.low,
        "high": found.high,
        "sd": sd,
        "p": significance.sign_flip_p(difference),
        "smallest_p": np.array([significance.smallest_p(int(n)) for n in found.n], dtype=np.float64),
        "detectable": significance.detectable_difference(error, found.n - 1),
        "iqm": centre,
        "iqm_low": low,
        "iqm_high": high,
        "verdict": verdicts(found.low, found.high),
    }


def verdicts(low: FloatArray, high: FloatArray) -> list[str]:
    """Say of each interval what it shows: a difference, none, or nothing because seeds are too few."""
    shown = np.where((low > 0) | (high < 0), FOUND, NONE)
    return [str(one) for one in np.where(np.isnan(low), TOO_FEW, shown)]


def _improvement(metrics: "pd.Series[str]", own: FloatArray, other: FloatArray) -> dict[str, FloatArray]:
    """Turn P(greater) into P(better), which for some metrics is P(less) and for some is nothing."""
    greater = probability_of_improvement(own, other)
    direction = np.array([metric(name).better for name in metrics])
    is_up, is_down = direction == "up", direction == "down"

    def towards(up: FloatArray, down: FloatArray) -> FloatArray:
        return np.where(is_up, up, np.where(is_down, 1.0 - down, np.nan))

    return {
        "improvement": towards(greater.estimate, greater.estimate),
        "improvement_low": towards(greater.low, greater.high),
        "improvement_high": towards(greater.high, greater.low),
    }


def probability_of_improvement(own: FloatArray, other: FloatArray) -> Intervals:
    """Estimate P(a run of one arm exceeds a run of the other), a tie counting ½.

        θ̂ = (1/n²) Σᵢ Σⱼ [xᵢ > yⱼ] + ½ [xᵢ = yⱼ]

    Over all pairs of runs, as rliable. The interval is of the score form: all θ with

        (θ̂ − θ)² ≤ z² θ(1−θ) [1 + (n−1)((1−θ)/(2−θ) + θ/(1+θ))] / (n(n−1))

    so that it has a width even where every run of one arm exceeds every run of the other, where a
    bootstrap's has none. It takes the arms for independent: where seeds matter it is too wide.

    Args:
        own, other: [S, K], seeds by comparisons; both NaN where a seed is missing.
    Source: Agarwal et al. 2021, arXiv:2108.13264; for the interval Newcombe 2006, Statistics in
        Medicine 25:559, method 5, whose variance is over n², here over n(n − 1).
    """
    count = np.sum(~np.isnan(own), axis=0)
    x, y = own[:, None, :], other[None, :, :]
    wins = np.where(np.isnan(x) | np.isnan(y), 0.0, (x > y) + 0.5 * (x == y)).sum(axis=(0, 1))
    chance = np.divide(wins, count**2, out=np.full(len(count), np.nan), where=count > 0)
    low, high = _score_end(chance, count, 0.0), _score_end(chance, count, 1.0)
    return Intervals(chance, low, high, count)


def _score_end(chance: FloatArray, count: IntArray, end: float) -> FloatArray:
    """Bisect between the estimate and `end` (0 or 1) for the θ at which the score is z."""
    inside, outside = chance.copy(), np.full(len(chance), end)
    n, z = np.maximum(count, 2), stats.norm.ppf(0.5 + LEVEL / 2)
    for _ in range(50):
        middle = (inside + outside) / 2
        spread = 1 + (n - 1) * ((1 - middle) / (2 - middle) + middle / (1 + middle))
        is_in = (chance - middle) ** 2 <= z**2 * middle * (1 - middle) * spread / (n * (n - 1))
        inside, outside = np.where(is_in, middle, inside), np.where(is_in, outside, middle)
    return np.where(count >= MIN_SEEDS, outside, np.nan)
