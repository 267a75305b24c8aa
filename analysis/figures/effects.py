"""Figures of effects: arms against the baseline at the end of training."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import effects
from analysis.figures.panels import PAGE, finite_rows, gap, grid, styled
from analysis.runs import Study
from analysis.selection import colour, marker, shown_arms
from analysis.tables import tables_of
from workbench.glossary import GLOSSARY

COMPARED = (
    *("final/gold", "final/proxy", "final/kl_to_sft"),
    *("final/response_length", "final/perplexity", "final/held_out_perplexity"),
)


@styled
def differences(study: Study, width: float = PAGE) -> Figure:
    """Draw each arm's paired difference from the baseline, a panel a metric."""
    table = tables_of(study).effects
    table = table[table["against"] != effects.START]
    arms = max(1, len(shown_arms(study)) - 1)
    figure, axes = grid(len(COMPARED), width, height=0.85 + 0.2 * arms, top=0.0)
    for panel, metric in zip(axes, COMPARED, strict=True):
        known = GLOSSARY[metric]
        panel.set_title(known.label)
        draw_intervals(panel, study, table[table["metric"] == metric], known.unit.replace("1", ""))
    return figure


def draw_intervals(panel: Axes, study: Study, table: pd.DataFrame, unit: str) -> None:
    """Draw a difference with its interval for each arm, one below the other."""
    table = finite_rows(table[table["arm"].isin(shown_arms(study))], "difference")
    if not len(table):
        gap(panel, "no finished run to compare")
        return
    for y, (_, row) in enumerate(table.iterrows()):
        tint = colour(study, row["arm"])
        panel.plot([row["low"], row["high"]], [y, y], color=tint, lw=2)
        panel.plot([row["difference"]], [y], marker(study, row["arm"]), color=tint, ms=5)
    panel.axvline(0, color="#777777", lw=0.8)
    panel.set_yticks(range(len(table)), table["arm"].tolist())
    panel.set(xlabel=unit, ylim=(len(table) - 0.4, -0.6))
    panel.tick_params(axis="y", length=0)
    panel.grid(False)
