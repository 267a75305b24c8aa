"""Figures of what was recorded iteration by iteration: the monitors, the update, the alignment tax."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import effects
from analysis.curves import has_zero
from analysis.figures.curve_panels import draw_curves
from analysis.figures.effects import draw_intervals
from analysis.figures.panels import PAGE, arm_legend, gap, grid, label_foot, reference_line, styled
from analysis.runs import Study
from analysis.tables import tables_of
from analysis.values import sft_level
from workbench.glossary import GLOSSARY, PAPER_FOUR

MAIN = (*PAPER_FOUR, "reward/gold", "eval/win_rate")
"""The paper's four monitors, then how good the responses truly are."""

OF_RESPONSES = ("reward/", "policy/", "eval/")
"""Sections of the metrics that are about responses, and not about the update or the machine."""


@styled
def monitors(study: Study, width: float = PAGE) -> Figure:
    """Draw the paper's four monitors with gold score and win rate over the iterations."""
    figure, axes = monitor_grid(study, MAIN, width)
    for panel, metric in zip(axes, MAIN, strict=True):
        mark_start(panel, study, metric)
    return figure


def mark_start(panel: Axes, study: Study, metric: str) -> None:
    """Draw the SFT policy's level into a panel about responses; KL's is 0, scores may share no zero."""
    is_level = metric.startswith(OF_RESPONSES) and metric != "policy/kl_to_sft"
    if is_level and has_zero(study, metric):
        reference_line(panel, sft_level(study, metric), "SFT")


@styled
def other_monitors(study: Study, width: float = PAGE) -> Figure:
    """Draw every other monitor of the responses that was recorded."""
    return monitor_grid(study, _rest(study, *OF_RESPONSES), width)[0]


@styled
def update_monitors(study: Study, width: float = PAGE) -> Figure:
    """Draw what was recorded of the PPO update."""
    return monitor_grid(study, _rest(study, "ppo/"), width)[0]


@styled
def cost_monitors(study: Study, width: float = PAGE) -> Figure:
    """Draw time, tokens and numerical trouble."""
    return monitor_grid(study, _rest(study, "time/", "stability/"), width)[0]


def _rest(study: Study, *sections: str) -> list[str]:
    """Return the recorded metrics of these sections that no other figure draws."""
    elsewhere = {*MAIN, "eval/held_out_perplexity", "eval/gold", "eval/proxy"}
    elsewhere |= {"eval/win", "eval/tie", "eval/loss"}
    names = [name for name in GLOSSARY if name in study.metric_names - elsewhere]
    return [name for name in names if name.startswith(sections) and "reward/q" not in name]


def monitor_grid(
    study: Study, metrics: Sequence[str], width: float, most: int = 3
) -> tuple[Figure, list[Axes]]:
    """Draw curves of all arms, a panel a metric, up to `most` abreast on a page."""
    figure, axes = grid(max(1, len(metrics)), width, most=most)
    if not metrics:
        gap(axes[0], "nothing of this was recorded")
    for panel, metric in zip(axes, metrics, strict=False):
        draw_curves(panel, study, metric)
    label_foot(axes)
    arm_legend(figure, study)
    return figure, axes


@styled
def held_out_perplexity(study: Study, width: float = PAGE) -> Figure:
    """Draw the alignment tax: perplexity on held-out language over time, and its change by arm."""
    metric, final = "eval/held_out_perplexity", "final/held_out_perplexity"
    figure, axes = grid(2, width, height=2.2, most=2)
    draw_curves(axes[0], study, metric)
    axes[0].set_xlabel("PPO iteration")
    mark_start(axes[0], study, metric)
    table = tables_of(study).effects
    table = table[(table["against"] == effects.START) & (table["metric"] == final)]
    axes[1].set(title="change from the SFT policy, at the end")
    draw_intervals(axes[1], study, table, "perplexity")
    arm_legend(figure, study)
    return figure
