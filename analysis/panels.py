"""What all figures share: the style, the colour of each arm, panels, curves, and notes on gaps."""

import re
import textwrap
from collections.abc import Callable, Sequence
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, ParamSpec

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from analysis.curves import Curve, curve
from analysis.intervals import FloatArray
from analysis.runs import Study, remembered
from analysis.selection import colour, dashes, marker, shown_arms
from analysis.stability import collapse_dates, stability_table
from workbench.glossary import GLOSSARY

PAGE, COLUMN = 7.0, 3.4
"""Widths in inches that a figure can be made for: a page (or screen), a column (or phone)."""

_STYLE = str(Path(__file__).with_name("workbench.mplstyle"))

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a figure function under the workbench's style."""

    @wraps(draw)
    def under_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context(_STYLE):
            return draw(*args, **kwargs)

    return under_style


def render(figure: Figure, kind: Literal["svg", "png"]) -> bytes:
    """Return a figure as the bytes of an SVG or PNG file, the same at every call."""
    buffer, metadata = BytesIO(), {"Date": None} if kind == "svg" else None
    with matplotlib.style.context(_STYLE):
        figure.savefig(buffer, format=kind, metadata=metadata)
    found = buffer.getvalue()
    return smaller(found) if kind == "svg" else found


def smaller(svg: bytes) -> bytes:
    """Halve an SVG file: no comments, no space that means nothing, paths to a tenth of a point."""
    for pattern in (_COMMENT, _BETWEEN):
        svg = pattern.sub(b"", svg)
    return _PATH.sub(_rounded, svg)


_COMMENT, _BETWEEN = (
    re.compile(rb"<!--.*?-->|<metadata>.*?</metadata>", re.S),
    re.compile(rb"(?<=>)\s+(?=<)"),
)
_PATH, _DECIMALS = re.compile(rb' d="[^"]*"'), re.compile(rb"\d+\.\d{2,}")
_LETTER = re.compile(rb"\s*([A-Za-z])\s*")


def _rounded(path: re.Match[bytes]) -> bytes:
    start = len(b' d="')
    numbers = _DECIMALS.sub(lambda found: b"%.1f" % float(found[0]), path[0][start:])
    return path[0][:start] + _LETTER.sub(rb"\1", numbers)


def grid(
    panels: int, width: float, *, height: float = 1.85, most: int = 3, top: float = 0.3
) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels, one below the other at column width, up to `most` abreast on a page.

    Args:
        width, height: of the figure and of each panel, in inches.
        top: room for the legend, in inches.
    """
    columns = 1 if width < 5 else min(most, panels)
    rows = -(-panels // columns)
    figure = Figure(
        figsize=(width, rows * height + top), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.09)
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[panels:]:
        spare.remove()
    return figure, axes[:panels]


def arm_legend(figure: Figure, study: Study, extra: Sequence[Line2D] = ()) -> None:
    """Put one legend of the arms above the panels."""
    handles = [
        Line2D([], [], color=colour(study, arm), linestyle=dashes(study, arm), label=arm)
        for arm in shown_arms(study)
    ]
    handles += list(extra)
    columns = max(1, int(figure.get_figwidth() / 1.3))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)


def mark_legend(figure: Figure, study: Study, extra: Sequence[Line2D] = ()) -> None:
    """Put one legend of the arms' markers above the panels."""
    handles = [
        Line2D([], [], ls="", color=colour(study, arm), marker=marker(study, arm), label=arm)
        for arm in shown_arms(study)
    ]
    columns = max(1, int(figure.get_figwidth() / 1.3))
    figure.legend(handles=[*handles, *extra], loc="outside upper left", ncols=columns)


def label_foot(axes: Sequence[Axes], text: str = "PPO iteration") -> None:
    """Label the x axis of those panels that have none below them."""
    lowest = {panel.get_subplotspec().colspan.start: panel for panel in axes}  # type: ignore[union-attr]
    for panel in lowest.values():
        panel.set_xlabel(text)


def name_rows(axes: Axes, names: Sequence[str], above: float = 10) -> None:
    """Name the rows 0, 1, … of a panel: beside it on a page, so many points above it in a column."""
    axes.tick_params(axis="y", length=0)
    if not is_column(axes):
        axes.set_yticks(range(len(names)), names)
        return
    axes.set_yticks([])
    for y, name in enumerate(names):
        axes.annotate(
            *(name, (0, y)),
            xycoords=axes.get_yaxis_transform(),
            xytext=(2, above),
            textcoords="offset points",
            color="#444444",
            va="center",
            zorder=6,
            bbox={"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.4},
        )


def is_column(axes: Axes) -> bool:
    """Say whether a panel belongs to a figure of column width."""
    return axes.get_figure(root=True).get_figwidth() < 5  # type: ignore[union-attr]


def gap(axes: Axes, text: str) -> None:
    """Say in an empty panel what is missing."""
    axes.text(
        *(0.5, 0.5, textwrap.fill(text, 34)),
        transform=axes.transAxes,
        ha="center",
        va="center",
        color="#666666",
        style="italic",
    )
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)


def label(axes: Axes, metric: str, *, x: str = "") -> None:
    """Title a panel with the glossary's label of a metric, and its axis with the unit."""
    known = GLOSSARY[metric]
    place = axes.get_subplotspec()
    is_narrow = place is not None and place.get_gridspec().ncols > 2
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}".replace("-", "−")))
    axes.set_title(textwrap.fill(known.label, 27 if is_narrow else 44, break_on_hyphens=False))
    axes.set_ylabel("" if known.unit == "1" else known.unit)
    axes.set_xlabel(x)


def scale_rule(values: FloatArray) -> str:
    """Choose an axis scale by how far the largest magnitude exceeds the median one.

    Linear up to 30 times. Beyond, logarithmic if all values are positive and lie within six
    decades; linear below the median and logarithmic above it ("symlog") if they start at zero or
    next to it. Values of both signs stay linear up to 1,000 times.
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
        threshold = 10.0 ** np.floor(np.log10(np.median(size)))  # a decade, so that no tick is next to 0
        set_to("symlog", linthresh=float(threshold))
    elif kind == "log":
        set_to("log")


def draw_curves(axes: Axes, study: Study, metric: str) -> None:
    """Draw one metric of all arms: line and band over seeds, or each seed where there is no band.

    A line fades from where some of its runs have ended. Triangles at the foot mark collapses.
    """
    drawn = [curve(study, metric, arm).centre for arm in shown_arms(study)]
    label(axes, metric)
    if not any(len(one) for one in drawn):
        gap(axes, "not recorded in this study")
        return
    for arm in shown_arms(study):
        draw_curve(axes, study, metric, arm, curve(study, metric, arm))
    set_scale(axes.set_yscale, np.concatenate(drawn))
    mark_collapses(axes, study)
    axes.margins(x=0.02)


def draw_curve(axes: Axes, study: Study, metric: str, arm: str, found: Curve) -> None:
    """Draw one arm's line and band."""
    if not len(found.steps):
        return
    tint, line = colour(study, arm), dashes(study, arm)
    if found.n.max() < 3:
        for run_id in study.runs_of(arm)["run_id"]:
            axes.plot(*study.series(run_id, metric), color=tint, lw=0.7, alpha=0.5)
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
    """Return by arm when its runs collapsed; see `stability.collapse_dates`."""
    table = stability_table(study)
    table = finite_rows(table.assign(fell=collapse_dates(table)), "fell")
    return {str(arm): own["fell"].to_numpy(float) for arm, own in table.groupby("arm")}


def reference_line(axes: Axes, value: object, text: str) -> None:
    """Draw a level, such as the SFT policy's, if it is known."""
    if isinstance(value, int | float) and np.isfinite(value):
        axes.axhline(float(value), color="#777777", lw=0.8, ls=(0, (2, 2)), zorder=1)
        axes.annotate(
            text,
            (1.01, float(value)),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            annotation_clip=False,
            color="#666666",
        )


def finite_rows(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Keep the rows in which all these columns are finite."""
    there = np.isfinite(frame[list(columns)].to_numpy(float)).all(axis=1)
    kept: pd.DataFrame = frame.loc[there]
    return kept
