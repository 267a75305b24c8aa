"""One number a run, and differences between arms over shared seeds: what the claims are decided by."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.collapse import collapses
from analysis.intervals import FloatArray, floats
from analysis.runs import Study, finished
from analysis.stability import last_iteration
from workbench.glossary import last_tenth

Quantity = Callable[[Study, str], float]
"""Maps a study and a run id to a number; NaN where the run has no such number."""

EARLY = 30
"""Iterations that count as the early phase."""


@dataclass(frozen=True)
class Arms:
    """The arms of one study, by quantities.

    Attributes:
        study: whose runs are looked at; those that failed or have not ended are left out.
    """

    study: Study

    @cached_property
    def score_unit(self) -> float:
        """Standard deviation of the reward-model scores of the SFT policy's responses.

        Over those of a run's first rollout; the median of all runs, as each seed may have a reward model
        of its own, and a few arms start elsewhere.
        """
        first = start("reward/proxy_std")
        return float(np.nanmedian([first(self.study, str(run)) for run in self.study.runs["run_id"]]))

    def of(self, arm: str, quantity: Quantity) -> "pd.Series[float]":
        """Return a quantity of an arm by seed.

        Raises:
            LookupError: if no run of the arm has ended.
        """
        runs = finished(self.study.runs_of(arm))
        if not len(runs):
            raise LookupError(f"study {self.study.name} has no finished run of arm {arm}")
        found = [quantity(self.study, str(run_id)) for run_id in runs["run_id"]]
        return pd.Series(found, index=runs["seed"].to_numpy(), dtype=np.float64)

    def values(self, arm: str, quantity: Quantity) -> FloatArray:
        """Return a quantity of one arm, [n]."""
        return floats(self.of(arm, quantity).dropna())

    def score(self, arm: str, other: str) -> FloatArray:
        """Return the final reward-model score of one arm less that of another, [n], in σ."""
        return self.less(arm, other, end("eval/proxy")) / self.score_unit

    def less(self, arm: str, other: str, quantity: Quantity) -> FloatArray:
        """Return a quantity of one arm less that of another, by seeds that both have, [n]."""
        return paired(self.of(arm, quantity), self.of(other, quantity))


def paired(own: "pd.Series[float]", other: "pd.Series[float]") -> FloatArray:
    """Return own − other over the seeds at which both are numbers, [n]."""
    return floats((own - other).dropna())


def end(metric: str) -> Quantity:
    """Return the mean over the last tenth of a metric's points, at least one: as `final/*`."""

    def mean_of_last(study: Study, run_id: str) -> float:
        values = study.series(run_id, metric)[1]
        return float(values[last_tenth(len(values))].mean()) if len(values) else float("nan")

    return mean_of_last


def start(metric: str) -> Quantity:
    """Return a metric's first point, which is the SFT policy's."""

    def first(study: Study, run_id: str) -> float:
        values = study.series(run_id, metric)[1]
        return float(values[0]) if len(values) else float("nan")

    return first


def rise(metric: str) -> Quantity:
    """Return how much higher a metric ends than it starts."""
    return minus(end(metric), start(metric))


def growth(metric: str) -> Quantity:
    """Return the share of its start by which a metric ends higher."""

    first, risen = start(metric), rise(metric)

    def grown(study: Study, run_id: str) -> float:
        begun = first(study, run_id)
        return risen(study, run_id) / begun if begun else float("nan")

    return grown


def at(metric: str, iteration: int) -> Quantity:
    """Return what a metric was at an iteration; NaN where it was not measured then."""

    def then(study: Study, run_id: str) -> float:
        steps, values = study.series(run_id, metric)
        found = values[steps == iteration]
        return float(found[0]) if len(found) else float("nan")

    return then


def at_share(metric: str, share: float) -> Quantity:
    """Return the mean over the tenth of a metric's points that ends at a share of its curve."""

    def mean_until(study: Study, run_id: str) -> float:
        values = study.series(run_id, metric)[1]
        last = max(1, round(share * len(values)))
        tenth = values[max(0, last - max(1, len(values) // 10)) : last]
        return float(tenth.mean()) if len(tenth) else float("nan")

    return mean_until


def best(metric: str, window: int = 3) -> Quantity:
    """Return the highest mean of `window` neighbouring points of a metric."""

    def highest(study: Study, run_id: str) -> float:
        values = study.series(run_id, metric)[1]
        if len(values) < window:
            return float("nan")
        return float(np.convolve(values, np.full(window, 1 / window), mode="valid").max())

    return highest


def noise(metric: str, first: int = 0, iterations: int = EARLY) -> Quantity:
    """Return how much a metric jumps between neighbouring iterations: std of differences over √2."""

    def jumps(study: Study, run_id: str) -> float:
        values = study.series(run_id, metric)[1][first : first + iterations]
        return float(np.diff(values).std(ddof=1) / np.sqrt(2)) if len(values) > 2 else float("nan")

    return jumps


def mean_over(metric: str, first: int, iterations: int) -> Quantity:
    """Return the mean of a metric over some iterations."""

    def mean_of(study: Study, run_id: str) -> float:
        values = study.series(run_id, metric)[1][first : first + iterations]
        return float(values.mean()) if len(values) else float("nan")

    return mean_of


def lasting(study: Study, run_id: str) -> float:
    """Return the iterations before a run collapses; all of them where it does not."""
    found = _collapse(study, run_id)
    return found if np.isfinite(found) else float(last_iteration(study, run_id))


def held(study: Study, run_id: str) -> float:
    """Return 1 for a run that did not collapse, else 0."""
    return float(not np.isfinite(_collapse(study, run_id)))


def fell(study: Study, run_id: str) -> float:
    """Return 1 for a run that collapsed, else 0."""
    return 1.0 - held(study, run_id)


def _collapse(study: Study, run_id: str) -> float:
    """Return the iteration of a run's collapse; NaN for none."""
    found = collapses(study)
    return float(floats(found.loc[found["run_id"] == run_id, "collapse"])[0])


def minus(one: Quantity, other: Quantity) -> Quantity:
    """Return the difference of two quantities of one run."""
    return lambda study, run_id: one(study, run_id) - other(study, run_id)


def log(quantity: Quantity) -> Quantity:
    """Return the natural logarithm of a quantity; NaN where it is not positive."""

    def logarithm(study: Study, run_id: str) -> float:
        value = quantity(study, run_id)
        return float(np.log(value)) if value > 0 else float("nan")

    return logarithm


def tail(of_metric: Callable[[str], Quantity]) -> Quantity:
    """Return how far the 5 % quantile of the score lies below its median, in interquartile ranges.

    Args:
        of_metric: which point of each quantile's curve, such as `end`.
    """
    low, quarter, median, upper = (of_metric(f"reward/q{q}") for q in ("05", "25", "50", "75"))

    def length(study: Study, run_id: str) -> float:
        box = upper(study, run_id) - quarter(study, run_id)
        below = median(study, run_id) - low(study, run_id)
        return below / box if box > 0 else float("nan")

    return length
