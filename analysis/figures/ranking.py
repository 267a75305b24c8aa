"""Every arm of a study of more arms than curves have room for, from the best to the worst."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.collapse import collapses
from analysis.figures.panels import PAGE, beside, gap, grid, is_column, name_rows, styled
from analysis.intervals import BoolArray, FloatArray, floats, interval
from analysis.runs import Study
from analysis.selection import colour, objective, ranked, shown_arms
from analysis.values import START_OF, sft_level
from workbench.glossary import GLOSSARY

MOST_ROWS = 40
"""Arms that have a row; of more, as many of the best as of the worst."""
_OTHER = "#8A8A8A"
_SFT: Any = (0, (2, 2))


@styled
def all_arms(study: Study, width: float = PAGE) -> Figure:
    """Draw where the runs of every arm ended in what ranks them, and how many of them hold."""
    metric, order = objective(study), ranked(study)
    half = MOST_ROWS // 2
    rows = order if len(order) <= MOST_ROWS else [*order[:half], *order[-half:]]
    figure, (panel,) = grid(1, width, height=0.8 + (0.2 if width > 5 else 0.3) * max(4, len(rows)))
    if not rows:
        gap(panel, "no run has finished yet")
        return figure
    for y, arm in enumerate(rows):
        values, has_fallen = _ends(study, arm, metric)
        _draw_row(
            panel, values, has_fallen, y, colour(study, arm) if arm in shown_arms(study) else _OTHER
        )
        beside(panel, f"{int((~has_fallen).sum())}/{len(values)}", y, 0)
    beside(panel, "hold", -0.9, 0)
    if len(rows) < len(order):
        panel.axhline(half - 0.5, color="#444444", lw=0.8, ls=(0, (6, 4)))
    start = sft_level(study, START_OF.get(metric, metric))
    if start is not None:
        panel.axvline(start, color="#444444", lw=0.9, ls=_SFT, zorder=1)
    name_rows(panel, rows, above=9)
    panel.set(xlabel=GLOSSARY[metric].label, ylim=(len(rows) - 0.4, -1.1 if is_column(panel) else -0.7))
    panel.grid(axis="x")
    panel.grid(False, axis="y")
    handles = [
        Line2D([], [], ls="", marker="o", ms=3, color=_OTHER, alpha=0.6, label="a run that holds"),
        Line2D([], [], ls="", marker="x", ms=4, color=_OTHER, label="one that collapsed"),
        Line2D([], [], marker="o", ms=5, mec="#222222", color=_OTHER, lw=2, label="mean, 95 % interval"),
        Line2D([], [], color="#444444", lw=0.9, ls=_SFT, label="SFT policy"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4 if width > 5 else 2)
    return figure


def _ends(study: Study, arm: str, metric: str) -> tuple[FloatArray, BoolArray]:
    """Return where an arm's runs ended, [n], and which of them have collapsed, [n]."""
    when = collapses(study).set_index("run_id")["collapse"]
    runs = [str(run) for run in study.runs_of(arm)["run_id"]]
    ends = {run: study.series(run, metric)[1][-1:] for run in runs}
    ended = [run for run in runs if len(ends[run]) and np.isfinite(ends[run][0])]
    values = floats([ends[run][0] for run in ended])
    return values, np.isfinite(floats(when.reindex(ended)))


def _draw_row(panel: Axes, values: FloatArray, has_fallen: BoolArray, y: int, tint: str) -> None:
    """Draw runs as pale marks, and their mean on its interval."""
    low = np.full(len(values), y + 0.24)
    panel.plot(values[~has_fallen], low[~has_fallen], "o", color=tint, ms=2.5, alpha=0.5)
    panel.plot(values[has_fallen], low[has_fallen], "x", color=tint, ms=3.5, mew=0.8, alpha=0.8)
    found = interval(values)
    panel.plot([found.low, found.high], [y, y], color=tint, lw=2)
    panel.plot([found.estimate], [y], "o", color=tint, ms=5, mec="#222222", mew=0.6)
