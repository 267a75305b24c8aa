"""Effects: each arm against the baseline over shared seeds, against its own start, and each trick."""

from typing import Any

import pandas as pd

from analysis.comparison import Pair, compare
from analysis.designs.design import Change, design_of
from analysis.intervals import floats, mean_intervals
from analysis.runs import Study
from analysis.values import START_OF, final_values, sft_values
from analysis.wording import quantity, say
from workbench.glossary import GLOSSARY

FINAL = tuple(name for name in GLOSSARY if name.startswith("final/") and name != "final/collapsed")
"""Metrics that are compared: one value a run, at its end."""

START = "the SFT policy"
"""What an arm is compared with, in the column `against`, where it is not another arm."""

FOREST_KINDS = ("leave_one_out", "add_one_in", "pairwise")

FOREST_COLUMNS = [
    *("trick", "arm", "design", "effect", "low", "high", "n", "sd"),
    *("p", "p_holm", "smallest_p", "detectable", "verdict"),
]


def final_table(study: Study) -> pd.DataFrame:
    """Tabulate each arm's final metrics.

    Returns:
        arm, metric, n, mean, low, high; low and high are the 95 % interval over seeds, NaN below
        three seeds.
    """
    frames = []
    for metric in FINAL:
        values = final_values(study, metric)
        found = mean_intervals(floats(values))
        ends = {"n": found.n, "mean": found.estimate, "low": found.low, "high": found.high}
        frames.append(pd.DataFrame({"arm": values.columns, "metric": metric} | ends))
    return _by_arm(pd.concat(frames), study)


def effects(study: Study, baseline: str | None = None) -> pd.DataFrame:
    """Compare every arm with the baseline over the seeds that both finished, and with the SFT policy.

    Args:
        baseline: an arm of the study; the study's own choice by default.
    Returns:
        the columns of `comparison.compare`, one row a comparison; those with the baseline are one
        family for Holm's correction, those with the start a second. A metric that neither side
        recorded has no row.
    Raises:
        ValueError: if the baseline is not an arm of the study.
    """
    chosen = baseline or study.baseline
    if baseline is not None and baseline not in study.arms:
        raise ValueError(f"baseline {baseline!r} is not an arm; arms: {', '.join(study.arms)}")
    others = [arm for arm in study.arms if chosen is not None and arm != chosen]
    against = [
        Pair(arm, str(chosen), metric, values[arm], values[chosen])
        for metric in FINAL
        for values in [final_values(study, metric)]
        for arm in others
    ]
    since = [
        Pair(arm, START, metric, ends[arm], start)
        for metric, evaluation in START_OF.items()
        for ends, start in [(final_values(study, metric), sft_values(study, evaluation))]
        for arm in study.arms
    ]
    return pd.concat([_by_arm(compare(family), study) for family in (against, since)], ignore_index=True)


def _by_arm(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Sort rows by arm, in the order of the study."""
    place = {arm: at for at, arm in enumerate(study.arms)}
    return table.sort_values("arm", key=lambda arm: arm.map(place), kind="stable", ignore_index=True)


def forest(study: Study, metric: str) -> pd.DataFrame:
    """Tabulate what each trick does next to the recipe, from arms that differ from it in one factor.

    Args:
        study: its design leaves one trick out at a time, adds one in, or adds one and two.
        metric: compared at the end of training.
    Returns:
        FOREST_COLUMNS, one row such an arm. effect is that of the trick, with minus without, so that
        a trick that helps has the same sign whether it was added or left out; of a factor with other
        levels, the arm's minus the recipe's. Holm's correction is over the table. Empty for any other
        design.
    """
    design = design_of(study)
    changes = [change for change in design.trick_changes if change.arm in study.arms]
    values, recipe = final_values(study, metric), design.recipe
    if design.kind not in FOREST_KINDS or not changes or recipe not in values:
        return pd.DataFrame(columns=FOREST_COLUMNS)
    table = compare([_with_minus_without(change, recipe, metric, values) for change in changes])
    labels = {change.arm: change.label for change in changes}
    table = table.rename(columns={"difference": "effect"}).assign(design=design.kind)
    return table.assign(trick=table["arm"].map(labels))[FOREST_COLUMNS]


def _with_minus_without(change: Change, recipe: str, metric: str, values: pd.DataFrame) -> Pair:
    own, other = values[change.arm], values[recipe]
    return Pair(change.arm, recipe, metric, *((other, own) if change.is_left_out else (own, other)))


def effect_sentence(row: "pd.Series[Any]") -> str:
    """Say one row of `effects`: direction, size, interval, n, p; or that none was found."""
    direction = "above" if row["difference"] > 0 else "below"
    size = quantity(abs(row["difference"]), row["metric"])
    return say(
        row,
        row["metric"],
        effect=row["difference"],
        claim=f"{row['arm']} is {size} {direction} {row['against']}",
        nothing=f"no difference found between {row['arm']} and {row['against']}",
    )


def forest_sentence(row: "pd.Series[Any]", metric: str) -> str:
    """Say one row of `forest`: what the trick does, or that nothing was found."""
    where = "in the recipe" if row["design"] == "leave_one_out" else "added to the recipe"
    verb = "adds" if row["effect"] > 0 else "takes away"
    return say(
        row,
        metric,
        effect=row["effect"],
        claim=f"{row['trick']}, {where}, {verb} {quantity(abs(row['effect']), metric)}",
        nothing=f"no effect of {row['trick']}, {where}, was found",
    )
