"""The outcome over the values of a number in which alone arms differ."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.panels import PAGE, finite_rows, gap, grid, is_column, styled
from analysis.intervals import FloatArray, floats
from analysis.runs import Study
from analysis.selection import MAX_ARMS, OKABE_ITO, objective
from analysis.tables import tables_of
from analysis.values import START_OF, final_values, sft_level
from workbench.glossary import GLOSSARY

MOST_SETTINGS = 4
"""Settings that are drawn: those with the most arms."""

LOGARITHMIC, LOGARITHMIC_KL = 8.0, 30.0
"""Positive values, and KL, that span more than these factors lie on a logarithmic axis."""

_KL = "final/kl_to_sft"
_DODGE, _MARGIN = 0.02, 0.1
"""How far sweeps of one setting are drawn apart, and the room at both ends, as shares of the axis."""
_WITHOUT: Any = (0, (5, 1.6))
_SFT: Any = (0, (2, 2))
_OTHER = "#8A8A8A"


@styled
def sweeps(study: Study, width: float = PAGE) -> Figure:
    """Draw what ranks arms, their KL and the share of runs that hold over each swept setting."""
    table = tables_of(study).sweeps
    settings = list(dict.fromkeys(table["setting"]))[:MOST_SETTINGS]
    metrics = [name for name in (objective(study), _KL) if (table["metric"] == name).any()]
    has_families = table["beside"].nunique() > 1
    abreast = len(metrics) + 1 + has_families
    figure, panels = grid(max(1, abreast * len(settings)), width, height=2.1, most=abreast)
    if not settings:
        gap(panels[0], "no arms differ in one number alone")
        return figure
    for row, setting in enumerate(settings):
        own, axes = table[table["setting"] == setting], panels[abreast * row : abreast * (row + 1)]
        beside = list(dict.fromkeys(own["beside"]))[:MAX_ARMS]
        labels = [*(GLOSSARY[metric].label for metric in metrics), "share of runs that hold"]
        for panel, label in zip(axes, labels, strict=False):
            _prepare(panel, setting, label, np.unique(own["value"].dropna()))
        for place, (name, tint) in enumerate(zip(beside, OKABE_ITO, strict=False)):
            family, shift = own[own["beside"] == name], _DODGE * (place - (len(beside) - 1) / 2)
            for panel, metric in zip(axes, metrics, strict=False):
                _draw_metric(study, panel, family[family["metric"] == metric], tint, shift)
            _draw_held(axes[len(metrics)], family[family["metric"] == metrics[0]], tint, shift)
        if _KL in metrics:
            _scale_kl(axes[metrics.index(_KL)])
        if has_families:
            _name_families(axes[-1], beside)
    handles = _handles(with_lacking=bool(table["value"].isna().any()))
    figure.legend(handles=handles, loc="outside upper left", ncols=4 if width > 5 else 2)
    return figure


def _prepare(panel: Axes, setting: str, label: str, values: FloatArray) -> None:
    """Name the axes, scale the lower one, and mark the values on it as far as there is room."""
    panel.set(xlabel=setting, ylabel=label)
    if values[0] > 0 and values[-1] > LOGARITHMIC * values[0]:
        panel.set_xscale("log")
        panel.minorticks_off()
    kept = _with_room(_places(panel, values), values, 230 if is_column(panel) else 105)
    panel.set_xticks(kept, [f"{value:g}" for value in kept])
    panel.set_xlim(*_shifted(panel, values[[0, -1]], floats([-_MARGIN, _MARGIN])))


def _scale_kl(panel: Axes) -> None:
    """Let a KL that runs over orders of magnitude be read at both ends."""
    drawn = np.concatenate([floats(line.get_ydata()) for line in panel.lines])
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) and drawn.min() > 0 and drawn.max() > LOGARITHMIC_KL * drawn.min():
        panel.set_yscale("log")


def _places(panel: Axes, values: FloatArray) -> FloatArray:
    """Return where values lie along the axis, the first at 0, the last at 1."""
    places = np.log(values) if panel.get_xscale() == "log" else values
    found: FloatArray = (places - places[0]) / (places[-1] - places[0])
    return found


def _shifted(panel: Axes, values: FloatArray, shares: FloatArray | float) -> FloatArray:
    """Move values along the axis by shares of what is between its first and its last mark."""
    ticks = panel.get_xticks()
    if panel.get_xscale() == "log":
        return floats(values * (ticks[-1] / ticks[0]) ** shares)
    return floats(values + (ticks[-1] - ticks[0]) * shares)


def _with_room(places: FloatArray, values: FloatArray, points: float) -> FloatArray:
    """Choose the values whose labels, 5 points a letter, do not touch; the first and the last always."""
    half = floats([2.5 * len(f"{value:g}") + 2 for value in values])
    kept = [0]
    for at in range(1, len(values) - 1):
        left, right = places[at] - places[kept[-1]], places[-1] - places[at]
        if points * left >= half[at] + half[kept[-1]] and points * right >= half[at] + half[-1]:
            kept.append(at)
    return values[[*kept, -1]]


def _draw_metric(study: Study, panel: Axes, rows: pd.DataFrame, tint: str, shift: float) -> None:
    """Draw runs as pale marks, means with their intervals joined by a line, and two levels."""
    swept, metric = finite_rows(rows, "value", "estimate"), str(rows["metric"].iloc[0])
    ends = final_values(study, metric)
    for place, arm in zip(_shifted(panel, floats(swept["value"]), shift), swept["arm"], strict=True):
        runs = floats(ends[arm].dropna())
        panel.plot(np.full(len(runs), place), runs, "o", color=tint, ms=2.5, alpha=0.35)
    _draw_means(panel, swept, tint, shift)
    for _, lacks in rows[rows["value"].isna()].iterrows():
        panel.axhline(lacks["estimate"], color=tint, lw=1, ls=_WITHOUT, zorder=1)
        panel.axhspan(lacks["low"], lacks["high"], color=tint, alpha=0.08, lw=0, zorder=0)
    start = sft_level(study, START_OF.get(metric, metric))
    if metric in START_OF and start is not None:
        panel.axhline(start, color="#444444", lw=0.9, ls=_SFT, zorder=1)


def _draw_held(panel: Axes, rows: pd.DataFrame, tint: str, shift: float) -> None:
    shares = rows[rows["ended"] > 0]
    shares = shares.assign(
        estimate=shares["held"] / shares["ended"], low=shares["held_low"], high=shares["held_high"]
    )
    _draw_means(panel, finite_rows(shares, "value"), tint, shift)
    for share in shares.loc[shares["value"].isna(), "estimate"]:
        panel.axhline(share, color=tint, lw=1, ls=_WITHOUT, zorder=1)
    panel.set_ylim(-0.05, 1.05)


def _draw_means(panel: Axes, rows: pd.DataFrame, tint: str, shift: float) -> None:
    places = _shifted(panel, floats(rows["value"]), shift)
    panel.vlines(places, rows["low"], rows["high"], color=tint, lw=1.8)
    panel.plot(places, rows["estimate"], "o-", color=tint, ms=4.5, lw=0.9, mec="#222222", mew=0.6)


def _name_families(panel: Axes, beside: Sequence[str]) -> None:
    """Say in a panel of its own which colour is which; a setting that all have is said once."""
    panel.set_axis_off()
    if len(beside) < 2:
        return
    names = {name.rpartition(" = ")[0] for name in beside}
    title = names.pop() if len(names) == 1 and "," not in "".join(beside) else ""
    handles = [
        Line2D([], [], color=tint, marker="o", ms=4, label=name.removeprefix(f"{title} = ") or "alone")
        for name, tint in zip(beside, OKABE_ITO, strict=False)
    ]
    panel.legend(handles=handles, title=title or None, loc="center left")


def _handles(*, with_lacking: bool) -> Sequence[Line2D]:
    lacking = [Line2D([], [], color=_OTHER, lw=1, ls=_WITHOUT, label="without the trick")]
    return [
        Line2D([], [], ls="", marker="o", ms=3, color=_OTHER, alpha=0.6, label="a run"),
        Line2D([], [], marker="o", ms=4.5, mec="#222222", color=_OTHER, label="mean, 95 % interval"),
        *(lacking if with_lacking else []),
        Line2D([], [], color="#444444", lw=0.9, ls=_SFT, label="SFT policy"),
    ]
