"""The paper's figures of curves: which monitors each shows, in which layout."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.figure import Figure

from analysis.evidence import Arms, lasting
from analysis.figures.monitors import mark_start, monitor_grid
from analysis.figures.panels import PAGE, styled
from analysis.figures.ridges import reward_distribution
from analysis.runs import Study
from workbench.glossary import PAPER_FOUR

Studies = Mapping[str, Study]
"""Studies by the paper's number, such as "04"."""
Draw = Callable[[Studies, float], Figure]
"""Draws studies at a width in inches."""

ACTION_SPACE = ("policy/perplexity", "policy/response_length", "policy/kl_to_sft")
LOSSES = ("ppo/policy_loss", "ppo/value_loss")
UPDATE = (*LOSSES, "ppo/advantage_mean", "ppo/return_mean")
COLLAPSE = ("reward/proxy", "eval/win_rate", *LOSSES, *ACTION_SPACE, "reward/gold")
"""Figure 4; the gold judge stands where the paper has none."""
STARTS = (*PAPER_FOUR, *UPDATE)
"""Figure 8."""
WITH_VALUES = ("reward/proxy", "policy/perplexity", "ppo/value_mean", "ppo/advantage_mean")
"""Figures 17 to 19."""
EVERYTHING = (
    *("reward/proxy", "reward/gold", "eval/win_rate", *ACTION_SPACE),
    *(*UPDATE, "ppo/value_mean", "eval/held_out_perplexity"),
)
"""Figure 9."""


def curves(number: str, metrics: tuple[str, ...], most: int) -> Draw:
    """Return what draws a study's metrics over the iterations, up to `most` panels abreast."""

    @styled
    def draw(studies: Studies, width: float = PAGE) -> Figure:
        figure, axes = monitor_grid(studies[number], metrics, width, most)
        for panel, metric in zip(axes, metrics, strict=True):
            mark_start(panel, studies[number], metric)
        return figure

    return draw


@styled
def long_run(studies: Studies, width: float = PAGE) -> Figure:
    """Draw every monitor of PPO-max in the long run, and when vanilla PPO collapses on average."""
    study = studies["09"]
    figure, axes = monitor_grid(study, EVERYTHING, width)
    for panel, metric in zip(axes, EVERYTHING, strict=True):
        mark_start(panel, study, metric)
        if "04" in studies:
            at = float(np.mean(Arms(studies["04"]).values("vanilla", lasting)))
            panel.axvline(at, color="#D55E00", lw=0.8, ls=(0, (2, 2)), zorder=1)
    return figure


def tails(studies: Studies, width: float = PAGE) -> Figure:
    """Draw the distribution of vanilla PPO's reward over time."""
    return reward_distribution(studies["04"], width)
