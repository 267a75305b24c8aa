"""One row an arm, in Markdown, for a page or a paper: `workbench table`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from analysis.collapse import collapses
from analysis.comparison import Pair, compare
from analysis.intervals import floats, interval
from analysis.runs import Study
from analysis.terminal import check_recorded, require_ended
from analysis.values import final_values
from workbench.glossary import metric as definition

NONE = "–"
MOST_DECIMALS = 4
"""Fewer where fewer give the middle one of a cell's three numbers three significant digits."""


@dataclass(frozen=True)
class ArmTable:
    """A table of a study's arms: the baseline first, then from the lowest difference to the highest.

    Attributes:
        columns: their titles; the first is "arm".
        rows: as many cells each, in Markdown.
        note: what the numbers are: n, intervals, p, which code made the runs, and when.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str

    @property
    def markdown(self) -> str:
        """The table, and the note under it."""
        rule = ["---", *["--:"] * (len(self.columns) - 1)]
        lines = [f"| {' | '.join(cells)} |" for cells in (self.columns, rule, *self.rows)]
        return "\n".join([*lines, "", self.note])


def arm_table(study: Study, metrics: Sequence[str], also: Sequence[str] = ()) -> ArmTable:
    """Tabulate what the arms of a study reached, over the runs that have ended.

    Args:
        study: its baseline is what the other arms are compared with.
        metrics: what is compared, the first being what arms are sorted by; `mean/` before a metric
            asks for its mean over a run in place of its last value.
        also: metrics that are told of each arm, and not compared.
    Raises:
        ValueError: if no run recorded a metric, or the study has no two arms that ended.
    """
    study, base = require_ended(study), str(study.baseline)
    check_recorded(study, [*metrics, *also])
    arms = [arm for arm in study.arms if len(study.runs_of(arm))]
    if base not in arms or len(arms) < 2:
        raise ValueError(f"{study.name} has no run of {base} and of another arm that have ended")
    others = [arm for arm in arms if arm != base]
    found = {metric: _compared(study, metric, base, others) for metric in metrics}
    first = found[metrics[0]].reindex(others)["difference"].sort_values(kind="stable")
    order = [base, *map(str, first.index)]
    columns = [("arm", [f"`{arm}`" for arm in order])]
    for metric, table in found.items():
        columns += _differences(table.reindex(order), metric, base)
    columns.append(("runs that hold", [_held(study, arm) for arm in order]))
    columns += [(_title(metric), _own(study, metric, order)) for metric in (*metrics, *also)]
    titles, cells = zip(*columns, strict=True)
    return ArmTable(titles, list(zip(*cells, strict=True)), _note(study))


def _compared(study: Study, metric: str, base: str, others: Sequence[str]) -> pd.DataFrame:
    """Return `comparison.compare` by arm; Holm's correction is over the arms of this metric."""
    values = final_values(study, metric)
    pairs = [Pair(arm, base, metric, values[arm], values[base]) for arm in others]
    return compare(pairs).set_index("arm")


def _differences(table: pd.DataFrame, metric: str, base: str) -> list[tuple[str, list[str]]]:
    ends = [floats(table[name]) for name in ("difference", "low", "high")]
    differences = [_between(*one) for one in zip(*ends, strict=True)]
    return [
        (f"{_title(metric)}, less `{base}`'s", differences),
        ("p", [_p(one) for one in floats(table["p_holm"])]),
    ]


def _title(metric: str) -> str:
    return definition(metric).label.removeprefix("final ")


def _own(study: Study, metric: str, arms: Sequence[str]) -> list[str]:
    values = final_values(study, metric)
    found = [interval(floats(values[arm].dropna())) for arm in arms]
    return [_between(one.estimate, one.low, one.high) for one in found]


def _held(study: Study, arm: str) -> str:
    when = collapses(study)
    fell = when.loc[when["run_id"].isin(study.runs_of(arm)["run_id"]), "collapse"]
    return f"{int(fell.isna().sum())} of {len(fell)}"


def _between(estimate: float, low: float, high: float) -> str:
    """Write an estimate and its interval with as many decimals each: see MOST_DECIMALS."""
    if np.isnan(estimate):
        return NONE
    ends = [end for end in (low, high) if np.isfinite(end)]
    size = float(np.median(np.abs([estimate, *ends])))
    places = min(MOST_DECIMALS, max(0, 2 - int(np.floor(np.log10(size))))) if size else 1
    shown = ", ".join(_fixed(end, places) for end in ends)
    return f"{_fixed(estimate, places)} [{shown}]" if shown else _fixed(estimate, places)


def _fixed(value: float, places: int) -> str:
    text = f"{value:.{places}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def _p(value: float) -> str:
    if np.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3g}"


def _note(study: Study) -> str:
    counts = study.runs.groupby("arm").size()
    least, most = int(counts.min()), int(counts.max())
    n = f"{least}" if least == most else f"{least} to {most}"
    said = (
        f"Study {study.name}, n = {n} seeds an arm; means with 95 % intervals (Student's t), differences"
        " over the seeds that both arms ended; p by two-sided sign flips, after Holm's correction over"
        " the arms of a column; runs hold that have not collapsed."
    )
    if not {"git_commit", "end_ms"} <= set(study.runs):
        return said
    commits = sorted({str(one)[:10] for one in study.runs["git_commit"].dropna()})
    day = datetime.fromtimestamp(float(study.runs["end_ms"].max()) / 1000, UTC).strftime("%Y-%m-%d")
    return f"{said} Code {', '.join(commits)}, {day}."
