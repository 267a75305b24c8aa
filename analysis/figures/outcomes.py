"""Figure of outcomes: when runs collapsed, and how long arms last."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.panels import PAGE, arm_legend, finite_rows, gap, grid, styled
from analysis.runs import Study
from analysis.selection import colour, dashes, shown_arms
from analysis.tables import tables_of


@styled
def collapse_times(study: Study, width: float = PAGE) -> Figure:
    """Draw when each run collapsed, and the share of each arm's runs that had not, over time."""
    rows = sum(len(study.runs_of(arm)) for arm in shown_arms(study))
    figure, axes = grid(2, width, height=float(np.clip(0.14 * rows + 0.9, 2.0, 5.0)), most=2)
    _timeline(axes[0], study)
    _survival(axes[1], study)
    arm_legend(figure, study, _OUTCOME_HANDLES)
    return figure


_OUTCOMES = {"collapsed": "X", "ok": "|", "running": ">", "failed": "s"}
_OUTCOME_HANDLES = [
    Line2D([], [], ls="", color="#444444", marker=mark, label=name)
    for name, mark in {"collapsed": "X", "held to the end": "|", "still running": ">"}.items()
]


def _timeline(panel: Axes, study: Study) -> None:
    panel.set(title="each run", xlabel="PPO iteration")
    table = tables_of(study).runs
    table = finite_rows(table, "last_iteration")
    table = table[table["arm"].isin(shown_arms(study))]
    if not len(table):
        gap(panel, "no run has recorded an iteration yet")
        return
    middle = {}
    for arm in shown_arms(study):
        rows = np.flatnonzero((table["arm"] == arm).to_numpy())
        middle[arm] = rows.mean() if len(rows) else np.nan
        for y in rows:
            _draw_run(panel, table.iloc[y], float(y), colour(study, arm))
    there = {arm: y for arm, y in middle.items() if np.isfinite(y)}
    panel.set_yticks(list(there.values()), list(there))
    panel.tick_params(axis="y", length=0)
    panel.set(xlim=(0, None), ylim=(len(table) - 0.4, -0.6))
    panel.grid(False)


def _draw_run(panel: Axes, run: "pd.Series[Any]", y: float, tint: str) -> None:
    end, collapse = float(run["last_iteration"]), float(run["collapse"])
    has_fallen = np.isfinite(collapse)
    until = collapse if has_fallen else end
    outcome = "collapsed" if has_fallen else "ok" if run["outcome"] == "collapsed" else run["outcome"]
    panel.plot([0, until], [y, y], color=tint, lw=1.6)
    panel.plot([until, end], [y, y], color=tint, lw=0.6, alpha=0.6)
    panel.plot([until], [y], _OUTCOMES[outcome], color=tint, ms=5.5, clip_on=False)


def _survival(panel: Axes, study: Study) -> None:
    panel.set(title="share of runs not collapsed", xlabel="PPO iteration", ylim=(-0.03, 1.05))
    table = tables_of(study).survival
    if not len(table):
        gap(panel, "no run has recorded an iteration yet")
        return
    for arm in shown_arms(study):
        one = table[table["arm"] == arm]
        tint, at = colour(study, arm), one["iteration"]
        panel.step(at, one["survival"], where="post", color=tint, ls=dashes(study, arm))
        panel.fill_between(at, one["low"], one["high"], step="post", color=tint, alpha=0.12, lw=0)
