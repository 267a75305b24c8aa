"""All figures by name. Each takes a study and a width, and says in the figure what is missing."""

from collections.abc import Callable

from matplotlib.figure import Figure

from analysis.design_plots import forest, interactions, main_effects, shapley_values
from analysis.effect_plots import differences
from analysis.frontier_plots import frontier, parallel_coordinates, reward_against_kl
from analysis.monitor_plots import (
    cost_monitors,
    held_out_perplexity,
    monitors,
    other_monitors,
    update_monitors,
)
from analysis.outcome_plots import collapse_times
from analysis.reward_model_plots import reward_model
from analysis.reward_plots import proxy_and_gold, wins
from analysis.ridge_plots import reward_distribution
from analysis.runs import Study
from analysis.tables import tables_of
from analysis.warning_plots import warning_ranking, warning_times

FIGURES: dict[str, Callable[..., Figure]] = {
    one.__name__: one
    for one in (
        monitors,
        proxy_and_gold,
        collapse_times,
        warning_ranking,
        warning_times,
        differences,
        wins,
        reward_against_kl,
        frontier,
        forest,
        main_effects,
        interactions,
        shapley_values,
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

TABLE_OF = {
    **{name: name for name in ("forest", "main_effects", "interactions", "shapley_values")},
    "wins": "outcomes",
}
"""Tables without which a figure is left out: not every study is designed or recorded for it."""


def is_drawn(study: Study, name: str) -> bool:
    """Say whether a report has a figure of a study."""
    return name not in TABLE_OF or len(getattr(tables_of(study), TABLE_OF[name])) > 0
