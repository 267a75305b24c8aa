"""The tables of the report's page: what is shown of each table, and what is folded away."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.page.links import run_link
from analysis.runs import Study, finished
from analysis.selection import shown_arms
from analysis.tables import Tables
from analysis.wording import number
from workbench.glossary import GLOSSARY

FOLD = 30
"""Rows that a table shows before the rest is folded away."""

_ARM_COLUMNS = (
    *("final/gold", "final/win_rate", "final/proxy", "final/kl_to_sft"),
    *("final/response_length", "final/perplexity", "final/held_out_perplexity"),
)

_RUN_COLUMNS = {
    "outcome": "outcome",
    "collapse": "collapse, by its curves",
    "rule": "by the rule of",
    "collapse_iteration": "collapse, by its tag",
    "last_iteration": "iterations",
    "start_gold": "gold at start",
    "best_gold": "best gold",
    "final_gold": "final gold",
    "final_proxy": "final proxy",
    "gap": "gap",
    "final_kl_to_sft": "final KL",
    "seconds": "seconds",
}
_COUNTS = ("collapse_iteration", "collapse", "last_iteration", "seconds")


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Attributes:
        head: what its columns are called.
        rows: what is shown, each row a list of cells.
        folded: what is folded away behind them.
        links: addresses of first cells, by their text.
    """

    head: list[str]
    rows: list[list[str]]
    folded: list[list[str]] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)


def _folded(head: list[str], rows: Iterable[tuple[bool, list[str]]], **more: Any) -> PageTable:
    """Fold a long table: show the rows that are called relevant, FOLD of them at most."""
    every = list(rows)
    if len(every) <= FOLD:
        return PageTable(head, [row for _, row in every], **more)
    relevant = [row for is_relevant, row in every if is_relevant]
    rest = [row for is_relevant, row in every if not is_relevant]
    return PageTable(head, relevant[:FOLD], relevant[FOLD:] + rest, **more)


def arm_rows(study: Study, tables: Tables) -> PageTable:
    """Tabulate the arms: how many runs finished and collapsed, and the final metrics."""
    metrics = [name for name in _ARM_COLUMNS if name in study.metric_names]
    values = {(row["arm"], row["metric"]): row for _, row in tables.arms.iterrows()}
    outcomes = dict(list(tables.runs.groupby("arm"))) if len(tables.runs) else {}
    rows, shown = [], shown_arms(study)
    for arm in study.arms:
        cells = [with_interval(values[arm, name], "mean") for name in metrics]
        head = [arm, *_outcome_cells(outcomes.get(arm), len(study.spec["seeds"]))]
        rows.append((arm in shown, [*head, *cells]))
    labels = [GLOSSARY[name].label.removeprefix("final ") for name in metrics]
    return _folded(["arm", "finished", "collapsed", *labels], rows)


def _outcome_cells(runs: pd.DataFrame | None, seeds: int) -> tuple[str, str]:
    if runs is None:
        return f"0 of {seeds}", "0 of 0"
    ended = finished(runs)
    at = ended["collapse"].astype(float).dropna()
    when = f"\nmedian at {at.median():g}" if len(at) else ""
    return f"{len(ended)} of {seeds}", f"{len(at)} of {len(ended)}{when}"


def effect_rows(study: Study, table: pd.DataFrame) -> PageTable:
    """Tabulate every comparison."""
    head = ["metric", "arm", "against", "difference", "n", "p", "p Holm"]
    head += ["detectable", "P(better)", "verdict"]
    shown = shown_arms(study)
    rows = (
        (
            row["arm"] in shown,
            [
                GLOSSARY[row["metric"]].label.removeprefix("final "),
                row["arm"],
                row["against"],
                with_interval(row, "difference"),
                str(row["n"]),
                f"{row['p']:.3g}",
                f"{row['p_holm']:.3g}",
                number(row["detectable"]),
                number(row["improvement"]),
                row["verdict"],
            ],
        )
        for _, row in table.iterrows()
    )
    return _folded(head, rows)


def with_interval(row: "pd.Series[Any]", estimate: str) -> str:
    """Write an estimate with its interval below, if it has one."""
    ends = f"\n[{number(row['low'])}, {number(row['high'])}]" if pd.notna(row["low"]) else ""
    return number(row[estimate]) + ends


def run_rows(study: Study, table: pd.DataFrame) -> PageTable:
    """Tabulate every run, its name linked to its page in MLflow."""
    shown, rows, links = shown_arms(study), [], {}
    for _, run in table.iterrows():
        name = f"{run['arm']}/s{run['seed']}"
        links[name] = run_link(study, str(run["run_id"]))
        rows.append((run["arm"] in shown, [name, *(_cell(run[key], key) for key in _RUN_COLUMNS)]))
    return _folded(["run", *_RUN_COLUMNS.values()], rows, links=links)


def _cell(value: Any, column: str) -> str:
    if column in _COUNTS and pd.notna(value):
        return f"{value:.0f}"
    return number(value) if isinstance(value, float) else str(value)


def recipe_differences(study: Study) -> PageTable:
    """Tabulate the parameters in which arms differ: a row a parameter, a column an arm that is shown."""
    arms = [arm for arm in shown_arms(study) if len(study.runs_of(arm))]
    rows = []
    for name in study.params:
        values = [study.runs_of(arm)[name].dropna().astype(str).unique() for arm in arms]
        cells = [", ".join(sorted(found)) if len(found) else "–" for found in values]
        if len(set(cells)) > 1:
            rows.append([name, *cells])
    return PageTable(["parameter", *arms], rows)


def some(names: Sequence[str], most: int = 6) -> str:
    """List names, the first few of many."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
