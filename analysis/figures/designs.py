"""Figures of designs: what single tricks and factors do, shares of the whole, pairs of tricks."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.figures.panels import PAGE, finite_rows, gap, grid, is_column, name_rows, styled
from analysis.runs import Study
from analysis.selection import objective
from analysis.tables import tables_of
from workbench.glossary import GLOSSARY

MOST_ROWS = 24
"""Rows of a forest: the largest effects."""

MOST_FACTORS = 12
"""Factors in a heat map: those in the largest interactions."""

_INK, _QUIET, _POINT = "#222222", "#777777", "#0072B2"
_DIVERGING = LinearSegmentedColormap.from_list("orange-blue", ["#C05000", "#F7F7F7", "#005A96"])


def forest(study: Study, width: float = PAGE) -> Figure:
    """Draw what each single trick does, the greatest effect on top."""
    table = _of_objective(study, tables_of(study).forest)
    return forest_of(table, width, unit=_unit(study))


def main_effects(study: Study, width: float = PAGE) -> Figure:
    """Draw what each factor of a factorial design does on average over the others."""
    table = _of_objective(study, tables_of(study).main_effects).rename(columns={"factor": "trick"})
    return forest_of(table, width, unit=_unit(study))


def shapley_values(study: Study, width: float = PAGE) -> Figure:
    """Draw each trick's share of what all tricks together change."""
    table = _of_objective(study, tables_of(study).shapley_values).rename(columns={"value": "effect"})
    return forest_of(table, width, unit=_unit(study))


def interactions(study: Study, width: float = PAGE) -> Figure:
    """Draw what pairs of factors do together beyond the sum of what each does alone."""
    table = _of_objective(study, tables_of(study).interactions)
    return interactions_of(table, width, unit=_unit(study))


def _of_objective(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    return table[table["metric"] == objective(study)]


def _unit(study: Study) -> str:
    return GLOSSARY[objective(study)].label


@styled
def forest_of(table: pd.DataFrame, width: float = PAGE, *, unit: str = "") -> Figure:
    """Draw a forest of effects: a mark with its interval, and in grey what would not have been found.

    Args:
        table: trick, effect, low, high, detectable; of `effects.forest` and its like.
        width: of the figure, in inches.
        unit: what the effects are measured in.
    """
    table = finite_rows(table, "effect").astype({"effect": float})
    kept = table.loc[table["effect"].abs().nlargest(MOST_ROWS).index]
    kept = kept.sort_values("effect", ascending=False)
    row = 0.21 if width > 5 else 0.37
    figure, (panel,) = grid(1, width, height=0.75 + row * max(3, len(kept)))
    if not len(kept):
        gap(panel, "the study was not made to tell this")
        return figure
    for y, (_, one) in enumerate(kept.iterrows()):
        _draw_effect(panel, one, y)
    panel.axvline(0, color=_QUIET, lw=0.8)
    name_rows(panel, [_words(name) for name in kept["trick"]])
    panel.set(xlabel=f"effect on {unit}" if unit else "effect", ylim=(len(kept) - 0.4, -0.8))
    panel.grid(axis="x")
    panel.grid(False, axis="y")
    figure.legend(handles=_forest_handles(), loc="outside upper left", ncols=3 if width > 5 else 1)
    return figure


def _draw_effect(panel: Axes, row: "pd.Series[Any]", y: int) -> None:
    is_sure = row["low"] > 0 or row["high"] < 0
    if np.isfinite(row["detectable"]):
        panel.barh(y, 2 * row["detectable"], left=-row["detectable"], height=0.5, color="#ECECEC")
    panel.plot([row["low"], row["high"]], [y, y], color=_POINT, lw=1.8)
    panel.plot([row["effect"]], [y], "o", color=_POINT, ms=5.5, mfc=_POINT if is_sure else "white")


def _forest_handles() -> list[Any]:
    return [
        Line2D([], [], color=_POINT, marker="o", label="effect, 95 % interval"),
        Line2D([], [], color=_POINT, marker="o", mfc="white", label="the interval holds zero"),
        Patch(color="#E4E4E4", label="too small to be found here"),
    ]


def _words(name: object) -> str:
    return textwrap.shorten(str(name).replace("_", " "), 34, placeholder="…")


@styled
def interactions_of(table: pd.DataFrame, width: float = PAGE, *, unit: str = "") -> Figure:
    """Draw a heat map of interactions, with numbers where there is room and else with signs.

    Bold where the interval excludes zero; "≡" where the pair cannot be told from others.

    Args:
        table: of `factorial.interactions`: factor_a, factor_b, effect, low, high, aliases.
        width: of the figure, in inches.
        unit: what the effects are measured in.
    """
    table = finite_rows(table, "effect").astype({"effect": float})
    names = _strongest(table)
    figure, (panel,) = grid(1, width, height=max(2.4, min(0.85 * width, 0.9 + 0.5 * len(names))), top=0)
    kept = table[table["factor_a"].isin(names) & table["factor_b"].isin(names)]
    if not len(kept):
        gap(panel, "the study crosses no two factors")
        return figure
    cells = np.full((len(names), len(names)), np.nan)
    place = {name: at for at, name in enumerate(names)}
    limit = float(kept["effect"].abs().max())
    digits = max(0, 1 - int(np.floor(np.log10(limit)))) if width / len(names) > 0.55 and limit else None
    for _, row in kept.iterrows():
        y, x = sorted((place[row["factor_a"]], place[row["factor_b"]]), reverse=True)
        cells[y, x] = row["effect"]
        text = _cell_text(row, digits)
        ink = "white" if abs(row["effect"]) > 0.6 * limit else _INK
        weight = "bold" if row["low"] > 0 or row["high"] < 0 else "normal"
        panel.text(x, y, text, ha="center", va="center", color=ink, fontweight=weight)
    _draw_cells(figure, panel, cells, names, unit)
    return figure


def _strongest(table: pd.DataFrame) -> list[str]:
    """Return the factors of the largest interactions, in the order of the table."""
    ordered = table.loc[table["effect"].abs().sort_values(ascending=False, kind="stable").index]
    pairs = ordered[["factor_a", "factor_b"]].to_numpy().ravel()
    chosen = list(dict.fromkeys(pairs))[:MOST_FACTORS]
    every = dict.fromkeys(table[["factor_a", "factor_b"]].to_numpy().ravel())
    return [name for name in every if name in chosen]


def _cell_text(row: "pd.Series[Any]", digits: int | None) -> str:
    """Write an interaction with so many decimals, or its sign alone; ≡ where it is confounded."""
    sign = "+" if row["effect"] > 0 else "−"
    size = "" if digits is None else f"{abs(row['effect']):.{digits}f}"
    return f"{sign}{size}" + ("≡" if str(row.get("aliases") or "") else "")


def _draw_cells(figure: Figure, panel: Axes, cells: Any, names: list[str], unit: str) -> None:
    limit = float(np.nanmax(np.abs(cells))) or 1.0
    norm = TwoSlopeNorm(vcenter=0, vmin=-limit, vmax=limit)
    image = panel.imshow(cells, cmap=_DIVERGING, norm=norm, aspect="equal")
    labels = [_words(name) for name in names]
    panel.set_xticks(range(len(names) - 1), labels[:-1], rotation=50, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(1, len(names)), labels[1:])
    panel.set(xlim=(-0.5, len(names) - 1.5), ylim=(len(names) - 0.5, 0.5))
    panel.tick_params(length=0)
    panel.grid(False)
    panel.spines[["left", "bottom"]].set_visible(False)
    if is_column(panel):
        return
    bar = figure.colorbar(image, ax=panel, shrink=0.7, aspect=18)
    bar.set_label(f"interaction in {unit}" if unit else "interaction")
    bar.outline.set_visible(False)
