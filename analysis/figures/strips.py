"""Rows of dots: one number a run, with the mean over the runs and its 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from analysis.figures.panels import gap, is_column, name_rows
from analysis.intervals import FloatArray, interval


@dataclass(frozen=True)
class Strip:
    """One row: its name, a number a run [n] (NaN are left out), its colour and its marker."""

    name: str
    values: FloatArray
    tint: str
    mark: str


def draw_strips(panel: Axes, strips: Sequence[Strip], *, above: float = 12) -> None:
    """Draw rows from the top: each run a pale dot, the mean a dark-edged mark on its interval.

    Args:
        panel: to draw into.
        strips: the rows; those without a number keep an empty place.
        above: points that a row's name is above it at column width.
    """
    if not any(np.isfinite(strip.values).any() for strip in strips):
        gap(panel, "no finished run has recorded this")
        return
    for y, strip in enumerate(strips):
        values = strip.values[np.isfinite(strip.values)]
        found = interval(values)
        panel.plot(
            values, np.full(len(values), y + 0.22), strip.mark, color=strip.tint, ms=3, alpha=0.45
        )
        panel.plot([found.low, found.high], [y, y], color=strip.tint, lw=2)
        panel.plot([found.estimate], [y], strip.mark, color=strip.tint, ms=5.5, mec="#222222", mew=0.6)
    name_rows(panel, [strip.name for strip in strips], above=above)
    panel.set_ylim(len(strips) - 0.5, -1.1 if is_column(panel) else -0.7)
    panel.grid(axis="x")
    panel.grid(False, axis="y")
