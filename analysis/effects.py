"""Effects: each arm against the baseline over shared seeds, and against its own start."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis import intervals
from analysis.intervals import FloatArray
from analysis.runs import Study
from workbench.glossary import GLOSSARY, Direction

FINAL = tuple(name for name in GLOSSARY if name.startswith("final/") and name != "final/collapsed")
"""Metrics that are compared: one value a run, at its end."""

START_OF = {
    "final/gold": "eval/gold",
    "final/proxy": "eval/proxy",
    "final/held_out_perplexity": "eval/held_out_perplexity",
}
"""Evaluation whose value at iteration 0, under the SFT policy, is the start of a final metric."""

START = "SFT start"
"""What an arm is compared with, in the column `against`, where it is not another arm."""

UNITLESS = ("1", "share", "gold", "score")
"""Units that add nothing behind a number, since the metric's name says them."""

FOUND, NONE, TOO_FEW = "difference", "no difference found", "too few seeds"


def arm_table(study: Study) -> pd.DataFrame:
    """Tabulate each arm's final metrics.

    Returns:
        arm, metric, n, mean, low, high; low and high are the 95 % interval over seeds, NaN below
        three seeds.
    """
    rows = []
    for arm in study.arms:
        for metric in FINAL:
            found = intervals.interval(np.array(list(_finals(study, arm, metric).values())))
            ends = {"mean": found.estimate, "low": found.low, "high": found.high}
            rows.append({"arm": arm, "metric": metric, "n": found.n} | ends)
    return pd.DataFrame(rows, columns=["arm", "metric", "n", "mean", "low", "high"])


def effects(study: Study, baseline: str | None = None) -> pd.DataFrame:
    """Compare every arm with the baseline over the seeds that both finished, and with its start.

    Args:
        baseline: an arm of the study; the study's own choice by default.
    Returns:
        One row a comparison: arm, against, metric, n, mean, mean_against, difference, low, high,
        p (sign flips), p_holm (over all comparisons with the baseline; those with the start are a
        second family), smallest_p, detectable (80 % power), improvement (P(arm's run beats the
        other's), NaN for a metric without a good direction), improvement_low, improvement_high,
        verdict. A metric that neither side
        recorded has no row.
    Raises:
        ValueError: if the baseline is not an arm of the study.
    """
    chosen = baseline or study.baseline
    if baseline is not None and baseline not in study.arms:
        raise ValueError(f"baseline {baseline!r} is not an arm; arms: {', '.join(study.arms)}")
    rows = [
        _compare(arm, chosen, metric, _finals(study, arm, metric), _finals(study, chosen, metric))
        for arm in study.arms
        for metric in FINAL
        if chosen is not None and arm != chosen
    ]
    rows += [
        _compare(arm, START, metric, _finals(study, arm, metric), _starts(study, arm, metric))
        for arm in study.arms
        for metric in START_OF
    ]
    table = pd.DataFrame([row for row in rows if row["n"]], columns=_COLUMNS)
    for is_start in (False, True):
        family = (table["against"] == START) == is_start
        table.loc[family, "p_holm"] = intervals.holm(table.loc[family, "p"].to_numpy(float))
    return table


_COLUMNS = [
    *("arm", "against", "metric", "n", "mean", "mean_against", "difference", "low", "high"),
    *("p", "p_holm", "smallest_p", "detectable"),
    *("improvement", "improvement_low", "improvement_high", "verdict"),
]


def _finals(study: Study, arm: str, metric: str) -> dict[int, float]:
    """Return a final metric by seed."""
    return _by_seed(study, arm, lambda run: study.series(run, metric)[1][-1:])


def _starts(study: Study, arm: str, metric: str) -> dict[int, float]:
    """Return by seed what the metric was at iteration 0."""

    def at_zero(run_id: str) -> FloatArray:
        steps, values = study.series(run_id, START_OF[metric])
        return values[: 1 if len(steps) and steps[0] == 0 else 0]

    return _by_seed(study, arm, at_zero)


def _by_seed(study: Study, arm: str, read: Callable[[str], FloatArray]) -> dict[int, float]:
    runs = study.runs_of(arm)
    pairs = zip(runs["seed"].tolist(), runs["run_id"].tolist(), strict=True)
    found = {int(seed): read(run_id) for seed, run_id in pairs}
    return {seed: float(x[0]) for seed, x in found.items() if len(x) and np.isfinite(x[0])}


def _compare(
    arm: str, against: str, metric: str, own: dict[int, float], other: dict[int, float]
) -> dict[str, Any]:
    seeds = sorted(own.keys() & other.keys())
    x, y = np.array([own[seed] for seed in seeds]), np.array([other[seed] for seed in seeds])
    found = intervals.paired_difference(x, y)
    chance = intervals.probability_of_improvement(x, y)
    better, low, high = _towards(GLOSSARY[metric].better, chance)
    return {
        "arm": arm,
        "against": against,
        "metric": metric,
        "n": found.n,
        "mean": float(x.mean()) if len(x) else np.nan,
        "mean_against": float(y.mean()) if len(y) else np.nan,
        "difference": found.estimate,
        "low": found.low,
        "high": found.high,
        "p": intervals.sign_flip_p(x - y),
        "p_holm": np.nan,
        "smallest_p": intervals.smallest_p(found.n),
        "detectable": intervals.detectable_difference(x - y),
        "improvement": better,
        "improvement_low": low,
        "improvement_high": high,
        "verdict": verdict(found),
    }


def _towards(direction: Direction, greater: intervals.Interval) -> tuple[float, float, float]:
    """Turn P(greater) with its ends into P(better); NaN where a metric has no good direction."""
    if direction == "none":
        return np.nan, np.nan, np.nan
    if direction == "down":
        return 1 - greater.estimate, 1 - greater.high, 1 - greater.low
    return greater.estimate, greater.low, greater.high


def verdict(found: intervals.Interval) -> str:
    """Say what an interval shows: a difference, none, or nothing because seeds are too few."""
    if found.n < intervals.MIN_SEEDS:
        return TOO_FEW
    return FOUND if found.excludes_zero else NONE


def effect_sentence(row: "pd.Series[Any]") -> str:
    """Say one comparison: direction, size, interval, n, p; or that none was found, and what could be."""
    metric = GLOSSARY[row["metric"]]
    label, unit = _capital(metric.label), "" if metric.unit in UNITLESS else f" {metric.unit}"
    against = f"its {START}" if row["against"] == START else row["against"]
    direction = "above" if row["difference"] > 0 else "below"
    size = f"{number(abs(row['difference']))}{unit}"
    claim = f"{label}: {row['arm']} is {size} {direction} {against}"
    if row["verdict"] == TOO_FEW:
        return f"{claim} (n = {row['n']}: too few seeds for an interval; this may be chance)."
    sure = f"95 % interval {number(row['low'])} to {number(row['high'])}, n = {row['n']}"
    if row["verdict"] == FOUND:
        return f"{claim} ({sure}, {_p_words(row)})."
    return (
        f"{label}: no difference found between {row['arm']} and {against} "
        f"({number(row['difference'])}{unit}, {sure}, {_p_words(row)}); one of "
        f"{number(row['detectable'])}{unit} would be found in four such studies out of five."
    )


def _p_words(row: "pd.Series[Any]") -> str:
    if row["smallest_p"] > 0.05:  # no correction can matter: see p_note
        return f"p = {row['p']:.3g}"
    words = f"p = {row['p']:.3g}, after Holm {row['p_holm']:.3g}"
    is_weak = row["verdict"] == FOUND and row["p_holm"] > 0.05
    return f"{words}: weak, given how many comparisons were made" if is_weak else words


def p_note(table: pd.DataFrame) -> str:
    """Say what the p of a family of comparisons can show; empty where there is nothing to say."""
    table = table[table["n"] >= intervals.MIN_SEEDS]
    if not len(table):
        return ""
    n, floor = int(table["n"].min()), float(table["smallest_p"].max())
    if floor > 0.05:
        return (
            f"{n} paired seeds cannot give a p (two-sided, by sign flips) below {floor:.3g}, even "
            "where every seed agrees: go by the intervals, none of which is corrected for their number."
        )
    return (
        f"p is two-sided, by sign flips over paired seeds; Holm's correction is over the "
        f"{len(table)} comparisons of this kind."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def number(value: float) -> str:
    """Write a number with three significant digits and a true minus sign; "–" for NaN."""
    if not np.isfinite(value):
        return "–" if np.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    exponent = int(f"{value:.2e}".partition("e")[2])  # after rounding: 9.999 is 10.0
    text = f"{value:.{max(0, 2 - exponent)}f}" if -5 < exponent < 6 else f"{value:.2e}"
    return text.replace("-", "−")
