"""Every table of a report by name: a data frame here, a CSV and a LaTeX file beside the page."""

from collections.abc import Callable
from functools import cached_property

import pandas as pd

from analysis import effects, frontier, overoptimisation, stability
from analysis.curves import curve_table
from analysis.designs import factorial, importance, pareto, shapley, sweeps
from analysis.outcomes import outcome_table
from analysis.reward_model import accuracy_table, loss_table, margin_table
from analysis.runs import Study, remembered
from analysis.selection import objective
from analysis.survival import survival
from analysis.warnings.alarms import alarm_times
from analysis.warnings.early_warning import warning_scores
from analysis.warnings.ranking import ranking

HEADLINE = (
    *("final/gold", "final/win_rate", "final/proxy", "final/kl_to_sft"),
    "final/held_out_perplexity",
)
"""Metrics of which designs are analysed and comparisons are said; the table of effects has all."""


class Tables:
    """All tables of a study, each computed when it is first asked for."""

    def __init__(self, study: Study) -> None:
        """Compute nothing yet.

        Args:
            study: what the tables are of.
        """
        self._study = study

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run: outcome, collapse, gold and proxy."""
        return stability.stability_table(self._study)

    @cached_property
    def arms(self) -> pd.DataFrame:
        """A row an arm and final metric: mean over seeds with its interval."""
        return effects.final_table(self._study)

    @cached_property
    def effects(self) -> pd.DataFrame:
        """A row a comparison with the baseline or with the start."""
        return effects.effects(self._study)

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """A row an arm: held-out prompts won, tied and lost against the SFT policy."""
        return outcome_table(self._study, self.arms)

    @cached_property
    def drift(self) -> pd.DataFrame:
        """A row a run and monitor: its drift and its spikes."""
        return stability.drift_table(self._study)

    @cached_property
    def warning_scores(self) -> pd.DataFrame:
        """A row a monitor and horizon: how well its value so far tells a collapse ahead."""
        return warning_scores(self._study)

    @cached_property
    def warning_times(self) -> pd.DataFrame:
        """A row a run and monitor: when its alarm went off, and how long before the collapse."""
        return alarm_times(self._study)

    @cached_property
    def warning_ranking(self) -> pd.DataFrame:
        """A row a monitor, the best first: forecasts and alarms together."""
        return ranking(self._study)

    @cached_property
    def survival(self) -> pd.DataFrame:
        """A row an arm and iteration: share of runs that had not collapsed."""
        return survival(self._study)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row an arm, metric and iteration: interquartile mean with its interval."""
        return curve_table(self._study)

    @cached_property
    def recipes(self) -> pd.DataFrame:
        """A row a run: its parameters."""
        known = [name for name in ("recipe_hash",) if name in self._study.runs]
        return self._study.runs[["arm", "seed", *known, *self._study.params]]

    @cached_property
    def overoptimisation(self) -> pd.DataFrame:
        """A row an arm and judge: how reward goes with KL, and where it peaks."""
        return overoptimisation.overoptimisation(self._study)

    @cached_property
    def frontier(self) -> pd.DataFrame:
        """A row an arm: KL and gold at the end, and whether another arm has more for less."""
        return frontier.arm_points(self._study)

    @cached_property
    def forest(self) -> pd.DataFrame:
        """A row a metric and trick that a design adds or leaves out alone."""
        return self._by_metric(effects.forest)

    @cached_property
    def sweeps(self) -> pd.DataFrame:
        """A row a metric, swept setting and value: mean over seeds, runs that hold."""
        return self._by_metric(sweeps.sweep_table)

    @cached_property
    def main_effects(self) -> pd.DataFrame:
        """A row a metric and factor of a factorial design."""
        return self._by_metric(factorial.main_effects)

    @cached_property
    def interactions(self) -> pd.DataFrame:
        """A row a metric and pair of factors."""
        return self._by_metric(factorial.interactions)

    @cached_property
    def shapley_values(self) -> pd.DataFrame:
        """A row a metric and trick: its share of what all tricks change."""
        return self._by_metric(shapley.shapley_values)

    @cached_property
    def importances(self) -> pd.DataFrame:
        """A row a parameter of a search: its share of the objective's variance."""
        return importance.importances(self._study, objective(self._study))

    @cached_property
    def pareto(self) -> pd.DataFrame:
        """A row an arm of a search: its objectives, and whether another beats it in all."""
        return pareto.pareto(self._study)

    def _by_metric(self, of: Callable[[Study, str], pd.DataFrame]) -> pd.DataFrame:
        """Put the tables of all headline metrics below one another, the metric first."""
        names = [name for name in HEADLINE if name in self._study.metric_names]
        frames = [of(self._study, name).assign(metric=name) for name in names]
        frames = [frame for frame in frames if len(frame)]
        if not frames:
            return pd.DataFrame(columns=["metric", *of(self._study, HEADLINE[0]).columns])
        table = pd.concat(frames, ignore_index=True)
        return table[["metric", *table.columns.drop("metric")]]

    @cached_property
    def reward_model_margins(self) -> pd.DataFrame:
        """A row a bin of the reward model's margins on held-out pairs."""
        return margin_table(self._study)

    @cached_property
    def reward_model_loss(self) -> pd.DataFrame:
        """A row a step of the reward model's training."""
        return loss_table(self._study)

    @cached_property
    def reward_model_accuracy(self) -> pd.DataFrame:
        """A row a look at the reward model's accuracy while it was trained."""
        return accuracy_table(self._study)


TABLES = tuple(name for name, kind in vars(Tables).items() if isinstance(kind, cached_property))
"""Names of all tables, in the order of the class."""


@remembered
def tables_of(study: Study) -> Tables:
    """Return the tables of a study, the same ones at every call."""
    return Tables(study)
