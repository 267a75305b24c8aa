"""All figures by name. Each takes a study and a width, and says in the figure what is missing."""

from collections.abc import Callable

from matplotlib.figure import Figure

from analysis.effect_plots import differences
from analysis.frontier_plots import parallel_coordinates, reward_against_kl
from analysis.monitor_plots import (
    cost_monitors,
    held_out_perplexity,
    monitors,
    other_monitors,
    update_monitors,
)
from analysis.outcome_plots import collapse_times, warning_times
from analysis.reward_plots import proxy_and_gold, reward_distribution, reward_model, wins
from analysis.runs import Study

FIGURES: dict[str, Callable[..., Figure]] = {
    one.__name__: one
    for one in (
        monitors,
        proxy_and_gold,
        collapse_times,
        warning_times,
        differences,
        wins,
        reward_against_kl,
        parallel_coordinates,
        reward_distribution,
        held_out_perplexity,
        reward_model,
        other_monitors,
        update_monitors,
        cost_monitors,
    )
}
"""Every figure by name, in the order of the report."""


def is_drawn(study: Study, name: str) -> bool:
    """Say whether a study has anything for a figure that not every study is made for."""
    return name not in _NEEDS or _NEEDS[name][0](study)


def absent(study: Study) -> list[str]:
    """Say why figures are missing."""
    return [why for name, (_, why) in _NEEDS.items() if not is_drawn(study, name)]


_NEEDS: dict[str, tuple[Callable[[Study], bool], str]] = {
    "parallel_coordinates": (lambda study: len(study.arms) > 1, "no x"),
}
