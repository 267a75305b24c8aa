"""Sweeps: arms that differ in one number alone, such as the KL penalty's weight at seven values.

They are found in the runs' parameters, so that it does not matter whether a grid made the arms or a
study file names them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.collapse import collapses
from analysis.designs.design import read_level
from analysis.intervals import floats, interval, share_interval
from analysis.runs import Study, finished, remembered
from analysis.values import final_values
from analysis.wording import label, number

LEAST_VALUES = 3
"""Fewest values that make a sweep: two are an effect, which other tables have."""

COLUMNS = [
    *("setting", "beside", "value", "arm", "estimate", "low", "high", "n"),
    *("held", "ended", "held_low", "held_high"),
]

Settings = frozenset[tuple[str, str]]
"""Parameters of an arm's tricks in which arms differ, with their values."""

_SWITCH = "trick."


@dataclass(frozen=True)
class Sweep:
    """Arms that differ in one number alone.

    Attributes:
        setting: its name, `trick.field`.
        beside: what tells this sweep from others of the setting; "" if there are none.
        arms: by value, ascending.
        without: the arm that is the same but lacks the trick; None if there is none.
    """

    setting: str
    beside: str
    arms: Mapping[float, str]
    without: str | None


@remembered
def sweeps_of(study: Study) -> tuple[Sweep, ...]:
    """Find the sweeps of a study, setting by setting, that with the most arms first."""
    settings = _settings(study)
    arm_of = {own: arm for arm, own in settings.items()}
    found = []
    for setting, families in _families(settings).items():
        for (rest, arms), beside in zip(families.items(), _beside(list(families)), strict=True):
            found.append(Sweep(setting, beside, arms, arm_of.get(_without(rest, setting))))
    sizes = Counter(one.setting for one in found for _ in one.arms)
    return tuple(sorted(found, key=lambda one: -sizes[one.setting]))


def _settings(study: Study) -> dict[str, Settings]:
    """Return the settings of each arm that has a run."""
    tricks = {name.removeprefix(_SWITCH) for name in study.params if name.startswith(_SWITCH)}
    ours = [n for n in study.params if n.startswith(_SWITCH) or n.partition(".")[0] in tricks]
    first = study.runs.drop_duplicates("arm").set_index("arm")[ours]
    differ = [name for name in ours if first[name].nunique(dropna=False) > 1]
    return {
        str(arm): frozenset((name, str(row[name])) for name in differ if pd.notna(row[name]))
        for arm, row in first.iterrows()
    }


def _families(settings: Mapping[str, Settings]) -> dict[str, dict[Settings, dict[float, str]]]:
    """Group arms, for each number, by all else that is set of them; groups of few values are left out.

    Returns:
        by the number's name and what else is set: arms by value, ascending.
    """
    groups: dict[str, dict[Settings, dict[float, str]]] = defaultdict(lambda: defaultdict(dict))
    for arm, own in settings.items():
        for name, text in own:
            if (value := _value(name, text)) is not None:
                groups[name][own - {(name, text)}].setdefault(value, arm)
    return {
        name: {r: dict(sorted(arms.items())) for r, arms in rests.items() if len(arms) >= LEAST_VALUES}
        for name, rests in sorted(groups.items())
    }


def _value(name: str, text: str) -> float | None:
    """Return a field's number; None for a trick's presence and for what is no finite number."""
    value = read_level(name, text)
    return value if isinstance(value, float) and np.isfinite(value) else None


def _without(rest: Settings, setting: str) -> Settings:
    """Take the trick of a setting, and what else is set of it, out of an arm's settings."""
    trick = setting.partition(".")[0]
    return frozenset(
        (name, text)
        for name, text in rest
        if name != f"{_SWITCH}{trick}" and not name.startswith(f"{trick}.")
    )


def _beside(families: Sequence[Settings]) -> list[str]:
    """Say by what each family differs from the others of its setting.

    What is set of a trick that others lack is left out, where its name is enough to tell them apart.
    """
    shared = frozenset.intersection(*families) if families else frozenset()
    own = [dict(sorted(family - shared)) for family in families]
    short = [
        ", ".join(_words(*one) for one in names.items() if not _goes_with_its_trick(one[0], names))
        for names in own
    ]
    if len(set(short)) == len(short):
        return short
    return [", ".join(_words(*one) for one in names.items()) for names in own]


def _goes_with_its_trick(name: str, names: Mapping[str, str]) -> bool:
    return f"{_SWITCH}{name.partition('.')[0]}" in names


def _words(name: str, text: str) -> str:
    return name.removeprefix(_SWITCH) if name.startswith(_SWITCH) else f"{name} = {text}"


def sweep_table(study: Study, metric: str) -> pd.DataFrame:
    """Tabulate a final metric over the values of every sweep.

    Returns:
        COLUMNS, one row a sweep and value: mean over seeds with its 95 % interval, and how many of the
        runs that ended hold, with the exact interval of that share; value is NaN for the arm that
        lacks the trick.
    """
    rows, sweeps = [], sweeps_of(study)
    if not sweeps:
        return pd.DataFrame(columns=COLUMNS)
    values, when = final_values(study, metric), collapses(study)
    when = when[when["run_id"].isin(finished(study.runs)["run_id"])]
    for sweep in sweeps:
        without = {np.nan: sweep.without} if sweep.without else {}
        for value, arm in (without | dict(sweep.arms)).items():
            found = interval(floats(values[arm].dropna()))
            fell = when.loc[when["arm"] == arm, "collapse"]
            held = share_interval(int(fell.isna().sum()), len(fell))
            rows.append(
                {"setting": sweep.setting, "beside": sweep.beside, "value": value, "arm": arm}
                | vars(found)
                | {"held": int(fell.isna().sum()), "ended": len(fell)}
                | {"held_low": held.low, "held_high": held.high}
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def sweep_sentences(table: pd.DataFrame, metric: str) -> list[str]:
    """Say where each sweep is highest and lowest, and at which values all runs hold."""
    return [
        _sentence(own, metric)
        for _, own in table.groupby(["setting", "beside"], sort=False)
        if own.dropna(subset=["value", "estimate"])["value"].nunique() >= LEAST_VALUES
    ]


def _sentence(own: pd.DataFrame, metric: str) -> str:
    own = own.dropna(subset=["estimate"])
    swept, lacks = own[own["value"].notna()], own[own["value"].isna()]
    setting, beside = swept.iloc[0][["setting", "beside"]]
    order = swept.sort_values("estimate", kind="stable")
    said = (
        f"{label(metric)} over {len(swept)} values of {setting}, {swept['value'].min():g} to "
        f"{swept['value'].max():g}{f', with {beside}' * bool(beside)}: highest {_at(order.iloc[-1])}, "
        f"lowest {_at(order.iloc[0])}."
    )
    if len(lacks):
        said += f" Without the trick {_level(lacks.iloc[0])}."
    holds = [f"{value:g}" for value in swept.loc[swept["held"] == swept["ended"], "value"]]
    if not holds:
        return f"{said} At no value do all runs hold."
    return f"{said} All runs hold at {'every value' if len(holds) == len(swept) else ', '.join(holds)}."


def _at(row: "pd.Series[Any]") -> str:
    return f"at {row['value']:g}, {_level(row)}"


def _level(row: "pd.Series[Any]") -> str:
    is_sure = np.isfinite(row["low"])
    sure = f"95 % interval {number(row['low'])} to {number(row['high'])}, " if is_sure else ""
    return f"{number(row['estimate'])} ({sure}n = {row['n']})"
