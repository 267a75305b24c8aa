"""The monitors of a study as matrices, a row a run and a column an iteration, and how the runs ended."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from analysis.collapse import collapses
from analysis.intervals import BoolArray, FloatArray, IntArray
from analysis.runs import Study
from workbench.glossary import PAPER_FOUR, metric

SECTIONS = ("policy/", "reward/", "ppo/", "eval/")
"""Metrics that are looked at as monitors: what a run records of itself, but neither cost nor outcome."""

JUDGED = frozenset({"reward/gold", "reward/gap", "eval/gold", "eval/win_rate"}) | {
    f"eval/{kind}{share}" for kind in ("", "helpful_", "harmless_") for share in ("win", "tie", "loss")
}
"""Monitors that ask the gold judge, which decides what a collapse is: no news where they warn."""

PAPER_SIX = (*PAPER_FOUR, "ppo/policy_loss", "ppo/value_loss")
"""Monitors of which "Secrets of RLHF" says whether they warn."""

ITERATION = "iteration"
"""The monitor that knows nothing but the time."""


@dataclass(frozen=True, eq=False)
class Traces:
    """R runs over T iterations.

    Attributes:
        runs: R rows with run_id, arm, seed.
        steps: [T] iterations at which the runs recorded.
        last: [R] the last of these that each run reached.
        collapse: [R] iteration of the collapse, NaN where there is none.
        held: [R] whether the run finished without one.
        monitors: names of what was recorded.
        read: gives the values [R, T] of a monitor; NaN before its first and after its last point, in
            between the latest value that was known, so that evaluations stand until the next.
    """

    runs: pd.DataFrame
    steps: FloatArray
    last: FloatArray
    collapse: FloatArray
    held: BoolArray
    monitors: tuple[str, ...]
    read: Callable[[str], FloatArray]

    def values(self, monitor: str) -> FloatArray:
        """Return a monitor's values [R, T]; for ITERATION the iterations that each run reached."""
        if monitor != ITERATION:
            return self.read(monitor)
        reached = self.steps <= self.last[:, None]
        return np.where(reached, self.steps, np.nan)

    @property
    def fell(self) -> BoolArray:
        """Which runs collapsed, [R]."""
        return np.isfinite(self.collapse)

    @property
    def arm(self) -> IntArray:
        """The number of each run's arm, [R]."""
        return np.unique(self.runs["arm"].to_numpy(str), return_inverse=True)[1]


@lru_cache(maxsize=4)
def traces_of(study: Study) -> Traces:
    """Gather a study's runs that recorded anything."""
    names = sorted(name for name in study.metric_names if name.startswith(SECTIONS))
    every_iteration = [name for name in names if not name.startswith("eval/")]
    at = {run: _steps(study, run, every_iteration or names) for run in study.runs["run_id"]}
    has_begun = np.array([len(at[run]) > 0 for run in study.runs["run_id"]], bool)
    runs = study.runs[has_begun].reset_index(drop=True)
    steps = np.unique(np.concatenate([at[run] for run in runs["run_id"]])) if len(runs) else np.empty(0)
    found = collapses(study).set_index("run_id").reindex(runs["run_id"])
    collapse = found["collapse"].to_numpy(np.float64)
    last = np.array([at[run][-1] for run in runs["run_id"]])

    def read(monitor: str) -> FloatArray:
        values = np.full((len(runs), len(steps)), np.nan)
        for row, run_id, end in zip(values, runs["run_id"], last, strict=True):
            _fill(row, steps, *study.series(run_id, monitor), end=float(end))
        return values

    return Traces(
        runs=runs[["run_id", "arm", "seed"]],
        steps=steps,
        last=last,
        collapse=collapse,
        held=(runs["outcome"] == "ok").to_numpy(bool) & np.isnan(collapse),
        monitors=tuple(names),
        read=read,
    )


def _steps(study: Study, run_id: str, metrics: list[str]) -> FloatArray:
    """Return the steps at which a run recorded any of some metrics; all of one section share them."""
    found = [study.series(run_id, metric)[0] for metric in metrics]
    return np.unique(np.concatenate([*found, np.empty(0)])).astype(np.float64)


def _fill(row: FloatArray, steps: FloatArray, at: IntArray, values: FloatArray, *, end: float) -> None:
    """Write into a row [T] at each step the last finite value known then."""
    at, values = at[np.isfinite(values)], values[np.isfinite(values)]
    place = np.searchsorted(at, steps, side="right") - 1
    there = (place >= 0) & (steps <= end)
    row[there] = values[place[there]]


def label(monitor: str) -> str:
    """Return what a plot calls a monitor."""
    if monitor == ITERATION:
        return "the iteration alone"
    return metric(monitor).label
