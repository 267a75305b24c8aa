"""Panels of curves: one metric of all arms over the iterations, on a scale that shows all of it."""

import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from analysis.collapse import collapses
from analysis.curves import Curve, curve, from_start, has_zero
from analysis.figures.panels import finite_rows, gap
from analysis.intervals import FloatArray
from analysis.runs import Study, remembered
from analysis.selection import colour, dashes, marker, shown_arms
from workbench.glossary import GLOSSARY


def label(axes: Axes, metric: str, *, x: str = "") -> None:
    """Title a panel with the glossary's label of a metric, and its axis with the unit."""
    known = GLOSSARY[metric]
    place = axes.get_subplotspec()
    abreast = place.get_gridspec().ncols if place is not None else 1
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}".replace("-", "−")))
    axes.set_title(textwrap.fill(known.label, _LETTERS.get(abreast, 44), break_on_hyphens=False))
    axes.set_ylabel("" if known.unit == "1" else known.unit)
    axes.set_xlabel(x)


_LETTERS = {3: 27, 4: 19}
"""Letters of a title that fit over a panel, by how many are abreast."""


def scale_rule(values: FloatArray) -> str:
    """Choose an axis scale by how far the largest magnitude exceeds the median one.

    Linear up to 30 times. Beyond, logarithmic if all values are positive and lie within six
    decades; linear below the median and logarithmic above it ("symlog") if they start at zero or
    next to it. Values of both signs stay linear up to 1,000 times. Of "symlog" no more than four
    decades are logarithmic, so that rounding errors next to zero do not fill the axis.
    """
    finite = values[np.isfinite(values)]
    size = np.abs(finite[finite != 0])
    spread = size.max() / np.median(size) if len(size) > 1 else 1.0
    if spread <= 30:
        return "linear"
    if finite.min() > 1e-6 * size.max():
        return "log"
    return "symlog" if finite.min() > -np.median(size) / 100 or spread > 1000 else "linear"


def set_scale(set_to: Callable[..., None], values: FloatArray) -> None:
    """Set an axis' scale by `scale_rule`, given its `set_xscale` or `set_yscale`."""
    kind = scale_rule(values)
    if kind == "symlog":
        size = np.abs(values[np.isfinite(values) & (values != 0)])
        decade = max(np.floor(np.log10(np.median(size))), np.ceil(np.log10(size.max())) - 4)
        set_to("symlog", linthresh=float(10.0**decade))  # a decade, so that no tick is next to 0
    elif kind == "log":
        set_to("log")


def draw_curves(axes: Axes, study: Study, metric: str) -> None:
    """Draw one metric of all arms: line and band over seeds, or each seed where there is no band.

    Scores of several reward models are drawn from each run's start on, as they share no zero.
    A line fades from where some of its runs have ended. Triangles at the foot mark collapses.
    """
    is_change = not has_zero(study, metric)
    found = {arm: curve(study, metric, arm, is_change=is_change) for arm in shown_arms(study)}
    label(axes, metric)
    if not any(len(one.steps) for one in found.values()):
        gap(axes, "not recorded in this study")
        return
    if is_change:
        axes.set_ylabel(f"change in {axes.get_ylabel()}")
    for arm, one in found.items():
        draw_curve(axes, study, metric, arm, one)
    set_scale(axes.set_yscale, np.concatenate([one.centre for one in found.values()]))
    mark_collapses(axes, study)
    axes.margins(x=0.02)


def draw_curve(axes: Axes, study: Study, metric: str, arm: str, found: Curve) -> None:
    """Draw one arm's line and band."""
    if not len(found.steps):
        return
    tint, line = colour(study, arm), dashes(study, arm)
    if found.n.max() < 3:
        for run_id in study.runs_of(arm)["run_id"]:
            steps, values = study.series(run_id, metric)
            if len(steps) and not has_zero(study, metric):
                values = from_start(values)
            axes.plot(steps, values, color=tint, lw=0.7, alpha=0.5)
    style: dict[str, Any] = {"color": tint, "linestyle": line, "zorder": 3}
    axes.plot(found.steps, found.centre, alpha=0.45, **style)
    whole = found.n == found.n.max()
    axes.plot(found.steps, np.where(whole, found.centre, np.nan), **style)
    axes.fill_between(found.steps, found.low, found.high, color=tint, alpha=0.16, lw=0)
    if len(found.steps) == 1:
        axes.plot(found.steps, found.centre, marker(study, arm), color=tint)


def mark_collapses(axes: Axes, study: Study) -> None:
    """Mark at the foot of a panel when runs collapsed."""
    dates = collapse_dates_of(study)
    for arm in shown_arms(study):
        at = dates.get(arm, np.empty(0))
        (marks,) = axes.plot(
            *(at, np.zeros(len(at)), "^"),
            transform=axes.get_xaxis_transform(),
            color=colour(study, arm),
            markersize=3.5,
            clip_on=False,
            alpha=0.8,
            zorder=4,
        )
        marks.set_in_layout(False)


@remembered
def collapse_dates_of(study: Study) -> dict[str, FloatArray]:
    """Return by arm when its runs collapsed, by their curves."""
    table = collapses(study)
    table = finite_rows(table.assign(collapse=table["collapse"].astype(float)), "collapse")
    return {str(arm): own["collapse"].to_numpy(float) for arm, own in table.groupby("arm")}
