"""Figure of the reward model: its margins on held-out pairs, and how its training went."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.panels import PAGE, gap, grid, reference_line, styled
from analysis.runs import Study
from analysis.tables import tables_of


@styled
def reward_model(study: Study, width: float = PAGE) -> Figure:
    """Draw the reward model: its margins on held-out pairs, and how its accuracy (or loss) went."""
    figure, axes = grid(2, width, height=2.2, most=2, top=0.0)
    tables = tables_of(study)
    _draw_margins(axes[0], tables.reward_model_margins, tables.reward_model_accuracy)
    looks = tables.reward_model_accuracy.dropna(subset=["step"])
    if len(looks) > 1:
        _draw_accuracy(axes[1], looks)
    else:
        _draw_loss(axes[1], tables.reward_model_loss)
    return figure


def _draw_margins(panel: Axes, margins: pd.DataFrame, accuracy: pd.DataFrame) -> None:
    panel.set(
        title="margins on held-out pairs", xlabel="score(chosen) − score(rejected)", ylabel="pairs"
    )
    if not len(margins):
        gap(panel, "the margins of the reward model were not recorded")
        return
    low, high = margins["low"].to_numpy(float), margins["high"].to_numpy(float)
    tints = np.where(low + high > 0, "#0072B2", "#C4C4C4")
    panel.bar(low, margins["pairs"], high - low, align="edge", color=tints, ec="white", lw=0.3)
    panel.axvline(0, color="#222222", lw=0.8)
    if len(accuracy):
        text = f"accuracy\n{accuracy['accuracy'].iloc[-1]:.1%}".replace("%", " %")
        panel.text(0.98, 0.95, text, transform=panel.transAxes, ha="right", va="top")


def _draw_accuracy(panel: Axes, looks: pd.DataFrame) -> None:
    panel.set(title="accuracy while it was trained", xlabel="optimiser step", ylabel="accuracy")
    panel.fill_between(looks["step"], looks["low"], looks["high"], color="#0072B2", alpha=0.16, lw=0)
    panel.plot(looks["step"], looks["accuracy"], "o-", color="#0072B2", ms=3)
    reference_line(panel, 0.5, "chance")


def _draw_loss(panel: Axes, losses: pd.DataFrame) -> None:
    panel.set(title="loss while it was trained", xlabel="optimiser step", ylabel="loss")
    if not len(losses):
        gap(panel, "the reward model's training was not recorded")
        return
    panel.plot(losses["step"], losses["loss"], color="#0072B2")
