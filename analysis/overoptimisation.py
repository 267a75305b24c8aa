"""Reward against KL: how far over-optimisation has gone in each arm.

It is fitted in the form that Gao et al. 2022 found for policies trained by RL,

    R(d) = d (α − β log d),   d = √KL(π ‖ π_SFT) in √nats,   R = score − score of the SFT policy,

whose peak is β d* at d* = exp(α/β − 1) where β > 0; where β < 0 it falls as far as d*, and rises from
there on. Here R is in the score's own unit.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.intervals import LEVEL, MIN_SEEDS, FloatArray, floats
from analysis.runs import Study
from analysis.values import UNMOVED
from analysis.wording import number

SOURCES = {"gold": "eval/gold", "proxy": "eval/proxy"}
"""Evaluations on held-out prompts that are fitted."""

FIT_COLUMNS = [
    *("arm", "source", "alpha", "alpha_low", "alpha_high", "beta", "beta_low", "beta_high"),
    *("peak_kl", "peak_kl_low", "peak_kl_high", "peak_value", "shape", "largest_kl", "r2", "n"),
]

RISES, PEAKS, FALLS, DIPS = "rises", "peaks", "falls", "dips"
"""Shapes of the fitted curve between the least and the largest KL of the runs."""

MIN_POINTS = 4
"""Fewest evaluations at a KL above zero to which a run is fitted."""


def overoptimisation(study: Study) -> pd.DataFrame:
    """Fit R(d) to the evaluations of each arm, gold and proxy, all seeds together.

    Intervals leave out one seed at a time (jackknife, Student's t); that of the peak is taken of its
    logarithm.

    Returns:
        FIT_COLUMNS, one row an arm and source: peak_kl in nats and peak_value in the score's unit, NaN
        where the curve has none (β ≤ 0); shape, which is PEAKS where the peak lies among the KL that the
        runs had, else it is an extrapolation; largest_kl they had; r2, the share of R's variance that
        the fit has.
    Source: Gao et al. 2022, arXiv:2210.10760, section 3.2.
    """
    rows = []
    for arm in study.arms:
        for source, metric in SOURCES.items():
            runs = [reward_path(study, run_id, metric) for run_id in study.runs_of(arm)["run_id"]]
            runs = [run for run in runs if len(run) >= MIN_POINTS]
            if runs:
                rows.append({"arm": arm, "source": source} | fit(runs))
    return pd.DataFrame(rows, columns=FIT_COLUMNS)


def reward_path(study: Study, run_id: str, metric: str) -> FloatArray:
    """Return [P, 2]: √KL and the gain over the SFT policy at the evaluations of a run after the first.

    An evaluation is paired with the KL of the iteration that it begins, the last with that of the last
    iteration. Points at which the estimate of KL is not above zero are left out.
    """
    at, value = study.series(run_id, metric)
    steps, kl = study.series(run_id, "policy/kl_to_sft")
    if not len(at) or not len(steps) or at[0] != 0:
        return np.empty((0, 2))
    place = np.clip(np.searchsorted(steps, at[1:], side="right") - 1, 0, None)
    path = np.stack([np.sqrt(np.maximum(kl[place], 0.0)), value[1:] - value[0]], axis=1)
    return floats(path[np.isfinite(path).all(axis=1) & (path[:, 0] > 0)])


def fit(runs: list[FloatArray]) -> dict[str, Any]:
    """Fit R(d) to runs of [P, 2] points, with the jackknife over runs; see `overoptimisation`."""
    designs = [np.stack([d, -d * np.log(d)], axis=1) for d, _ in (run.T for run in runs)]
    gram = np.stack([x.T @ x for x in designs])
    moment = np.stack([x.T @ run[:, 1] for x, run in zip(designs, runs, strict=True)])
    whole = np.linalg.pinv(gram.sum(axis=0)) @ moment.sum(axis=0)
    left_out = np.stack(
        [
            np.linalg.pinv(gram.sum(axis=0) - g) @ (moment.sum(axis=0) - m)
            for g, m in zip(gram, moment, strict=True)
        ]
    )
    low, high = _jackknife(whole, left_out)
    points = np.concatenate(runs)
    residual = points[:, 1] - np.concatenate(designs) @ whole
    spread = np.sum((points[:, 1] - points[:, 1].mean()) ** 2)
    return {
        **{"alpha": whole[0], "alpha_low": low[0], "alpha_high": high[0]},
        **{"beta": whole[1], "beta_low": low[1], "beta_high": high[1]},
        **_peak(whole, left_out),
        **{"shape": _shape(whole, points[:, 0]), "largest_kl": float(points[:, 0].max()) ** 2},
        "r2": 1.0 - float(np.sum(residual**2)) / float(spread) if spread > 0 else np.nan,
        "n": len(runs),
    }


def _jackknife(whole: FloatArray, left_out: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the interval ends of estimates [...], given them without each of the n seeds [n, ...]."""
    n = len(left_out)
    if n < MIN_SEEDS:
        return np.full(whole.shape, np.nan), np.full(whole.shape, np.nan)
    error = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0))
    half = stats.t.ppf(0.5 + LEVEL / 2, n - 1) * error
    return whole - half, whole + half


def _shape(whole: FloatArray, distances: FloatArray) -> str:
    """Say how the fitted curve runs between the least and the largest √KL, by its slope at both ends.

    R'(d) = α − β (1 + log d), which changes its sign once at most. A KL below UNMOVED is none.
    """
    ends = np.array([max(distances.min(), np.sqrt(UNMOVED)), distances.max()])
    first, last = whole[0] - whole[1] * (1 + np.log(ends)) > 0
    return (RISES if last else PEAKS) if first else (DIPS if last else FALLS)


def _peak(whole: FloatArray, left_out: FloatArray) -> dict[str, float]:
    """Return where the fitted curve peaks: log d* = α/β − 1, R* = β d*; NaN where β ≤ 0."""
    names = ("peak_kl", "peak_kl_low", "peak_kl_high", "peak_value")
    if whole[1] <= 0:
        return dict.fromkeys(names, np.nan)
    log_kl = 2 * (whole[0] / whole[1] - 1)
    low, high = np.nan, np.nan
    if np.all(left_out[:, 1] > 0):  # else some seeds have a peak and some have none
        ends = _jackknife(np.array([log_kl]), 2 * (left_out[:, :1] / left_out[:, 1:] - 1))
        low, high = float(ends[0][0]), float(ends[1][0])
    with np.errstate(over="ignore"):
        kls = [float(np.exp(x)) for x in (log_kl, low, high)]
        value = float(whole[1] * np.exp(log_kl / 2))
    return dict(zip(names, (*kls, value), strict=True))


def fit_sentence(row: "pd.Series[Any]") -> str:
    """Say one row of `overoptimisation`: which way the curve goes, where it turns, if runs got there."""
    begin = f"{row['arm']}: {'gold' if row['source'] == 'gold' else 'the reward-model score'}"
    sure = f"n = {row['n']}, R² = {row['r2']:.2f}"
    if row["shape"] == FALLS:
        return f"{begin} falls with √KL throughout ({sure})."
    if row["shape"] == DIPS:
        turn = number(float(np.exp(2 * (row["alpha"] / row["beta"] - 1))))
        return f"{begin} falls as far as a KL of {turn} nats/response, then rises ({sure})."
    if not np.isfinite(row["peak_kl"]):
        return f"{begin} rises with √KL throughout; the fitted curve has no peak ({sure})."
    ends = f"95 % interval {number(row['peak_kl_low'])} to {number(row['peak_kl_high'])}"
    ends = "no interval" if np.isnan(row["peak_kl_low"]) else ends
    where = f"{number(row['peak_kl'])} nats/response ({ends}, {sure})"
    if row["shape"] == PEAKS:
        return f"{begin} peaks at a KL of {where}, and falls beyond it."
    far = f"the runs went to {number(row['largest_kl'])}, so that this is an extrapolation"
    return f"{begin} would peak at a KL of {where}; {far}."
