"""All figures by name. Each takes a study and a width, and says in the figure what is missing."""

from collections.abc import Callable

from matplotlib.figure import Figure

from analysis.figures.designs import forest, interactions, main_effects, shapley_values
from analysis.figures.effects import differences
from analysis.figures.frontier import frontier, parallel_coordinates, reward_against_kl
from analysis.figures.monitors import (
    cost_monitors,
    held_out_perplexity,
    monitors,
    other_monitors,
    update_monitors,
)
from analysis.figures.outcomes import collapse_times
from analysis.figures.ranking import all_arms
from analysis.figures.reward_model import reward_model
from analysis.figures.rewards import proxy_and_gold, wins
from analysis.figures.ridges import reward_distribution
from analysis.figures.sweeps import sweeps
from analysis.figures.warnings import warning_ranking, warning_times
from analysis.runs import Study
from analysis.selection import MAX_ARMS
from analysis.tables import tables_of

FIGURES: dict[str, Callable[..., Figure]] = {
    one.__name__: one
    for one in (
        all_arms,
        monitors,
        proxy_and_gold,
        collapse_times,
        warning_ranking,
        warning_times,
        differences,
        wins,
        reward_against_kl,
        frontier,
        sweeps,
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
    **{n: n for n in ("sweeps", "forest", "main_effects", "interactions", "shapley_values")},
    "wins": "outcomes",
}
"""Tables without which a figure is left out: not every study is designed or recorded for it."""


def is_drawn(study: Study, name: str) -> bool:
    """Say whether a report has a figure of a study."""
    if name == all_arms.__name__:
        return len(study.arms) > MAX_ARMS
    return name not in TABLE_OF or len(getattr(tables_of(study), TABLE_OF[name])) > 0
