"""Figures of warnings: which monitor tells a collapse ahead, and how long before."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.panels import PAGE, beside, finite_rows, gap, grid, mark_legend, name_rows, styled
from analysis.runs import Study
from analysis.selection import colour, marker, shown_arms
from analysis.tables import tables_of
from analysis.traces import ITERATION, PAPER_SIX

MOST = 12
"""Monitors drawn: the clock, those of the paper, and as many of the leaders as there is room for."""

_HORIZONS = ("#9CC7E3", "#3F8FC4", "#08457E")
_MARKS = ("^", "o", "s")


def drawn_monitors(ranked: pd.DataFrame) -> list[str]:
    """Choose the monitors to draw from `warnings.ranking`, in its order; none that asks the judge."""
    own = ranked.loc[~ranked["judged"].astype(bool), "monitor"].tolist()
    fixed = [name for name in own if name in (*PAPER_SIX, ITERATION)]
    leaders = [name for name in own if name not in fixed][: MOST - len(fixed)]
    return [name for name in own if name in fixed or name in leaders]


def warning_ranking(study: Study, width: float = PAGE) -> Figure:
    """Draw how well each monitor tells a collapse ahead, at three horizons."""
    tables = tables_of(study)
    return warning_ranking_of(tables.warning_scores, drawn_monitors(tables.warning_ranking), width)


@styled
def warning_ranking_of(scores: pd.DataFrame, monitors: list[str], width: float = PAGE) -> Figure:
    """Draw the AUROC of monitors with 95 % intervals, a mark a horizon.

    Args:
        scores: of `early_warning.warning_scores`: monitor, label, horizon, auroc, low, high.
        monitors: those to draw, from the top.
        width: of the figure, in inches.
    """
    scores = finite_rows(scores, "auroc")
    monitors = [name for name in monitors if (scores["monitor"] == name).any()]
    row = 0.3 if width > 5 else 0.52
    figure, (panel,) = grid(1, width, height=0.75 + row * max(3, len(monitors)))
    if not monitors:
        gap(panel, "too few runs collapsed, or held, to judge any monitor")
        return figure
    horizons = sorted(scores["horizon"].unique())[: len(_HORIZONS)]
    for y, name in enumerate(monitors):
        own = scores[scores["monitor"] == name].set_index("horizon")
        for place, horizon in enumerate(horizons):
            if horizon in own.index:
                _draw_area(panel, own.loc[horizon], y + 0.22 * (place - (len(horizons) - 1) / 2), place)
    panel.axvline(0.5, color="#777777", lw=0.8)
    labels = scores.drop_duplicates("monitor").set_index("monitor")["label"]
    name_rows(panel, [labels[name] for name in monitors], above=14)
    panel.set(xlabel="AUROC (½ tells nothing, 1 all)", ylim=(len(monitors) - 0.5, -0.8))
    panel.grid(axis="x")
    panel.grid(False, axis="y")
    handles = [
        Line2D([], [], color=tint, marker=mark, label=f"within {horizon} iterations")
        for horizon, tint, mark in zip(horizons, _HORIZONS, _MARKS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3 if width > 5 else 1)
    return figure


def _draw_area(panel: Axes, row: "pd.Series[Any]", y: float, place: int) -> None:
    tint, mark = _HORIZONS[place], _MARKS[place]
    panel.plot([row["low"], row["high"]], [y, y], color=tint, lw=1.5)
    panel.plot([row["auroc"]], [y], mark, color=tint, ms=4.5, mec="#222222", mew=0.5)


@styled
def warning_times(study: Study, width: float = PAGE) -> Figure:
    """Draw how many iterations before the collapse each monitor's alarm went off, a dot a run."""
    tables = tables_of(study)
    ranked, times = tables.warning_ranking, tables.warning_times
    ranked = ranked[ranked["monitor"].isin(drawn_monitors(ranked)) & (ranked["monitor"] != ITERATION)]
    row_height = 0.24 if width > 5 else 0.4
    figure, (panel,) = grid(1, width, height=0.95 + row_height * max(4, len(ranked)))
    if not len(ranked):
        gap(panel, "too few runs collapsed, or held, to judge any monitor")
        return figure
    for y, (_, row) in enumerate(ranked.iterrows()):
        own = times[(times["monitor"] == row["monitor"]) & ~times["held"].astype(bool)]
        _draw_leads(panel, study, finite_rows(own, "lead"), y)
        panel.plot([float(row["lead_median"])] * 2, [y - 0.2, y + 0.2], color="#222222", lw=1.6)
        beside(panel, f"{row['announced']}/{row['falls']}", y, 0)
        beside(panel, f"{row['false_alarms']}/{row['held']}", y, 1)
    for place, text in enumerate(("before", "in vain")):
        beside(panel, text, -0.9, place)
    name_rows(panel, ranked["label"].tolist())
    panel.set(xlabel="iterations from alarm to collapse", ylim=(len(ranked) - 0.4, -0.8))
    panel.set_xlim(left=0)
    panel.grid(axis="x")
    mark_legend(figure, study, [Line2D([], [], color="#222222", lw=1.6, label="median")])
    return figure


def _draw_leads(panel: Axes, study: Study, found: pd.DataFrame, y: int) -> None:
    for arm in shown_arms(study):
        lead = found.loc[found["arm"] == arm, "lead"].to_numpy(float)
        spread = [y + 0.09 * (place % 3 - 1) for place in range(len(lead))]
        panel.plot(lead, spread, marker(study, arm), color=colour(study, arm), alpha=0.75)
