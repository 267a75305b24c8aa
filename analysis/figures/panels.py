"""What all figures share: the style, the bytes of a file, panels, legends, and notes on gaps."""

import re
import textwrap
from collections.abc import Callable, Sequence
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Literal, ParamSpec

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from analysis.runs import Study
from analysis.selection import colour, dashes, marker, shown_arms

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
    """Halve an SVG file: drop comments, space and names without meaning; paths to a tenth of a point."""
    for pattern, instead in _NEEDLESS.items():
        svg = re.sub(pattern, instead, svg, flags=re.S)
    return _PATH.sub(_rounded, svg)


def few_colours(png: bytes) -> bytes:
    """Shrink a PNG file to a quarter: 64 colours are enough for lines and pale bands."""
    from PIL import Image

    buffer = BytesIO()
    with Image.open(BytesIO(png)) as image:
        flat = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
        flat.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


_NEEDLESS = {
    rb"<!--.*?-->|<metadata>.*?</metadata>": b"",
    rb"(?<=>)\s+(?=<)": b"",
    rb'<g id="[^"]*"': b"<g",
    rb"(?<=[:;]) (?=[-\w]+[:;\"])": b"",  # of styles
    rb"(?<=[\"#])DejaVuSans-": b"D",  # of glyphs, each used many times
}
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
    figure.legend(handles=handles, loc="outside upper left", ncols=_columns(figure, handles))


def _columns(figure: Figure, handles: Sequence[Line2D]) -> int:
    """Return how many entries of a legend fit abreast: 4.6 points a letter, 37 for line and space."""
    widths = np.array([37 + 4.6 * len(str(handle.get_label())) for handle in handles])
    for columns in range(len(handles), 1, -1):  # entries go down the columns, the first ones longer
        if sum(part.max() for part in np.array_split(widths, columns)) <= 72 * figure.get_figwidth():
            return columns
    return 1


def mark_legend(figure: Figure, study: Study, extra: Sequence[Line2D] = ()) -> None:
    """Put one legend of the arms' markers above the panels."""
    handles = [
        Line2D([], [], ls="", color=colour(study, arm), marker=marker(study, arm), label=arm)
        for arm in shown_arms(study)
    ]
    handles += list(extra)
    figure.legend(handles=handles, loc="outside upper left", ncols=_columns(figure, handles))


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


def beside(axes: Axes, text: str, y: float, column: int) -> None:
    """Write at the right of a panel, in one of two columns."""
    annotation = axes.annotate(
        *(text, (1.0, y)),
        xytext=(8 + 42 * column, 0),
        textcoords="offset points",
        xycoords=axes.get_yaxis_transform(),
        va="center",
        color="#444444",
        annotation_clip=False,
    )
    annotation.set_in_layout(True)


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
