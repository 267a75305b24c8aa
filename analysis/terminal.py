"""Compare arms of a study, or two studies, in the terminal: `workbench compare`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group
from rich.table import Table

from analysis import effects, store
from analysis.comparison import TOO_FEW, Pair, compare
from analysis.loading import load
from analysis.runs import Study, ended
from analysis.values import final_values
from analysis.wording import number, p_note, quantity, seeds_sentence
from workbench.glossary import MEAN
from workbench.glossary import metric as definition

DEFAULT = "the default"


@dataclass(frozen=True)
class Compared:
    """A comparison, and what has to be known beside it.

    Attributes:
        table: the columns of `comparison.compare`; Holm's correction is over the table.
        notes: what was found amiss, and what differs besides the arms; in sentences.
    """

    table: pd.DataFrame
    notes: Sequence[str] = ()


def compared(names: Sequence[str], tracking_uri: str, metrics: Sequence[str] = ()) -> Compared:
    """Compare what is named, over the runs that have ended; others are compared with the first.

    Args:
        names: a study, all arms of which are compared with its baseline; a study and two or more of its
            arms; or two studies, whose arms of the same name are compared over shared seeds.
        tracking_uri: any MLflow tracking URI.
        metrics: those that are compared; all that are taken at the end of a run by default.
    Raises:
        ValueError: if a name is no study, arm or metric, or nothing is there to be compared.
    """
    if twice := [name for name in names[1:] if names.count(name) > 1]:
        raise ValueError(f"{twice[0]!r} is named twice; name what it is to be compared with")
    study, rest = require_ended(load(names[0], tracking_uri)), list(names[1:])
    check_recorded(study, metrics)
    chosen = list(metrics) or [name for name in effects.FINAL if name in study.metric_names]
    if len(rest) == 1 and rest[0] not in study.arms and _is_study(rest[0], tracking_uri):
        other = require_ended(load(rest[0], tracking_uri))
        pairs, who = _between(study, other, chosen), f"{study.name} and {other.name}"
        notes = [*study.notes, *other.notes, *differences(study, other)]
    else:
        pairs, who = _within(study, rest or _baseline_first(study), chosen), f"the arms of {study.name}"
        notes = list(study.notes)
    table = compare(pairs)
    if not len(table):
        raise ValueError(f"{who} have no seed in common at which both have ended")
    return Compared(table, notes)


def require_ended(study: Study) -> Study:
    """Keep the runs of a study that came to their end, and their points.

    Raises:
        ValueError: if there are none.
    """
    kept = ended(study)
    if not len(kept.runs):
        raise ValueError(
            f"no run of {study.name} has ended yet;"
            f" `workbench status {study.name}` says how far they are"
        )
    return kept


def differences(first: Study, second: Study) -> Iterator[str]:
    """Say in a sentence what differs between two studies besides arms and seeds; nothing if nothing."""
    one, other = _always(first), _always(second)
    if None not in (listed := (first.spec["settings"], second.spec["settings"])):
        one, other = one | listed[0], other | listed[1]
    both = [(key, one.get(key, DEFAULT), other.get(key, DEFAULT)) for key in sorted({*one, *other})]
    told = [f"{key}: {was} and {now}" for key, was, now in both if was != now]
    if _differ(first.runs, second.runs, "settings_hash"):
        unlisted = "settings that their tags do not list"
        told += [f"perhaps {unlisted}"] * (None in listed) if told else [unlisted]
    told += [
        f"the recipe of arm {arm}"
        for arm in first.arms
        if _differ(first.runs_of(arm), second.runs_of(arm), "recipe_hash")
    ]
    if told:
        yield f"{first.name} and {second.name} differ in {', '.join(told)}."


def _always(study: Study) -> dict[str, Any]:
    """Return what the tag of a study says however full it is."""
    spec = study.spec
    sizes = {"ppo.iterations": spec["iterations"], "ppo.rollout_size": spec["rollout_size"]}
    return {"task": spec["task"]} | sizes


def _differ(first: pd.DataFrame, second: pd.DataFrame, tag: str) -> bool:
    """Say whether runs that have a tag have it otherwise."""
    one, other = (set(runs[tag].dropna()) if tag in runs else set() for runs in (first, second))
    return bool(one and other and one != other)


def check_recorded(study: Study, metrics: Sequence[str]) -> None:
    """Refuse a metric that no run has, `mean/` before it or not.

    Raises:
        ValueError: names the first, and the nearest that was recorded.
    """
    for name in (name.removeprefix(MEAN) for name in metrics):
        if name not in study.metric_names:
            near = get_close_matches(name, sorted(study.metric_names), n=1, cutoff=0.7)
            hint = f"did you mean {near[0]!r}?" if near else "see `workbench metrics`"
            raise ValueError(f"no run of {study.name} recorded {name!r}; {hint}")


def _is_study(name: str, tracking_uri: str) -> bool:
    return name in store.experiment_names(tracking_uri)


def _baseline_first(study: Study) -> list[str]:
    return sorted(study.arms, key=lambda arm: arm != study.baseline)


def _within(study: Study, arms: Sequence[str], metrics: Sequence[str]) -> list[Pair]:
    if unknown := [arm for arm in arms if arm not in study.arms]:
        raise ValueError(
            f"{unknown[0]!r} is neither an arm of {study.name} ({', '.join(study.arms)}) nor a study"
        )
    if len(arms) < 2:
        raise ValueError(f"a comparison needs two arms; {study.name} has {', '.join(study.arms)}")
    base = arms[0]
    found = {metric: final_values(study, metric) for metric in metrics}
    return [
        Pair(arm, base, metric, values[arm], values[base])
        for metric, values in found.items()
        for arm in arms[1:]
    ]


def _between(first: Study, second: Study, metrics: Sequence[str]) -> list[Pair]:
    pairs = []
    for metric in metrics:
        old, new = final_values(first, metric), final_values(second, metric)
        for arm in (arm for arm in first.arms if arm in second.arms):
            names = (f"{arm} of {second.name}", f"{arm} of {first.name}")
            pairs.append(Pair(*names, metric, new[arm], old[arm]))
    if not pairs:
        raise ValueError(f"{first.name} and {second.name} have no arm of the same name")
    return pairs


def advice(table: pd.DataFrame, difference: float | None) -> list[str]:
    """Say for each row how many seeds would find a difference of interest; nothing if there is none."""
    if difference is None:
        return []
    return [seeds_sentence(row, row["metric"], difference) for _, row in table.iterrows()]


def as_data(found: Compared, difference: float | None = None) -> dict[str, Any]:
    """Return a comparison as plain data: rows, each with its sentence, the notes, and `advice`."""
    table = found.table
    rows = [
        {key: _plain(value) for key, value in row.items()} | {"sentence": effects.effect_sentence(row)}
        for _, row in table.iterrows()
    ]
    return {"rows": rows, "note": " ".join(_notes(found)), "advice": advice(table, difference)}


def _notes(found: Compared) -> list[str]:
    return [*filter(None, [p_note(found.table)]), *found.notes]


def _plain(value: Any) -> Any:
    """Return a value that JSON has: None for NaN, Python's own numbers."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def as_page(found: Compared, difference: float | None = None) -> Group:
    """Return a comparison as a table with its sentences, notes and `advice`, to be printed by rich."""
    table = found.table
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("metric", "arm", "against"):
        drawn.add_column(name, overflow="fold")
    for name in ("n", "difference", "95 % interval", "p", "Holm", "detectable"):
        drawn.add_column(name, justify="right")
    for _, row in table.iterrows():
        is_known = row["verdict"] != TOO_FEW
        ends = f"{number(row['low'])} to {number(row['high'])}" if is_known else number(np.nan)
        size = quantity(row["difference"], row["metric"])
        tests = (f"{row['p']:.3g}", f"{row['p_holm']:.3g}", number(row["detectable"]))
        name = definition(row["metric"]).label
        drawn.add_row(name, row["arm"], row["against"], str(row["n"]), size, ends, *tests)
    said = [effects.effect_sentence(row) for _, row in table.iterrows()]
    advised = dict.fromkeys(advice(table, difference))  # too few seeds are too few for every metric
    below = [*_notes(found), *advised]
    return Group(drawn, "", *said, *([""] if below else []), *below)
