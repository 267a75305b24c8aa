"""A study as it stands in MLflow: its runs, the points of their metrics, their artifacts."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from analysis.intervals import FloatArray, IntArray
from analysis.store.artifacts import artifact_path

FINISHED = ("ok", "collapsed")
"""Outcomes of runs that came to their end; the others are "running" and "failed"."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Study:
    """One study as it stands in MLflow.

    Attributes:
        name: name of the experiment.
        spec: what was asked: question, task, settings (those that are not the defaults; None where
            the study's tag has no room for them), arms, baseline, seeds, iterations, rollout_size,
            command.
        prepared: the pretrained, SFT and reward models that all arms share, and the policy's start.
        runs: one row a cell (arm × seed), in the order of `arms`: run_id, arm, seed, outcome,
            collapse_iteration (NaN unless collapsed), collapse_reason, start_ms, end_ms,
            artifact_uri, then the tags and the parameters under their own names.
        metrics: run_id, arm, seed, metric, step, value; one row a point, sorted by run, metric, step.
        params: those columns of `runs` that are parameters.
        tracking_uri: where it was read.
        experiment_id: MLflow's id of the experiment, part of the addresses of its pages.
        deleted: names of cells whose run ended and was then deleted in MLflow.
        notes: what was found amiss while reading, in sentences.
    """

    name: str
    spec: dict[str, Any]
    prepared: dict[str, Any]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    params: tuple[str, ...]
    tracking_uri: str
    experiment_id: str = ""
    deleted: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms that were asked for, in the order of the study, then any other that has runs."""
        return tuple(dict.fromkeys([*self.spec["arms"], *self.runs["arm"]]))

    @property
    def baseline(self) -> str | None:
        """The arm that others are compared with: the study's own choice, else its first arm."""
        chosen = self.spec.get("baseline")
        return chosen if chosen in self.arms else next(iter(self.arms), None)

    @property
    def has_one_reward_model(self) -> bool:
        """False where seeds have reward models of their own: the scores of these share no zero."""
        return has_one_reward_model(self.runs)

    @cached_property
    def metric_names(self) -> frozenset[str]:
        """Names of all metrics that at least one run recorded."""
        return frozenset(map(str, self.metrics["metric"].unique()))

    @cached_property
    def memory(self) -> dict[Hashable, Any]:
        """What `remembered` functions returned for this study."""
        return {}

    @cached_property
    def _slices(self) -> dict[tuple[str, str], slice]:
        """Rows of `metrics` that hold one metric of one run; they are contiguous."""
        run, metric = self.metrics["run_id"], self.metrics["metric"]
        codes = [pd.Categorical(column).codes for column in (run, metric)]
        moved = np.any([np.diff(code, prepend=-1) != 0 for code in codes], axis=0)
        change = np.flatnonzero(moved)
        ends = np.append(change, len(self.metrics))[1:]
        keys = zip(run.iloc[change], metric.iloc[change], strict=True)
        return {
            key: slice(int(start), int(end)) for key, start, end in zip(keys, change, ends, strict=True)
        }

    @cached_property
    def _columns(self) -> tuple[IntArray, FloatArray]:
        return self.metrics["step"].to_numpy(np.int64), self.metrics["value"].to_numpy(np.float64)

    def series(self, run_id: str, metric: str) -> tuple[IntArray, FloatArray]:
        """Return steps [T] and values [T] of one metric of one run; both empty where it has none."""
        rows = self._slices.get((run_id, metric), slice(0, 0))
        steps, values = self._columns
        return steps[rows], values[rows]

    def curves(self, metric: str, arm: str) -> tuple[IntArray, FloatArray]:
        """Return steps [T] and values [S, T] of the S runs of an arm that recorded the metric.

        NaN where a run has no point at a step, not-finite values included.
        """
        found = [self.series(run_id, metric) for run_id in self.runs_of(arm)["run_id"]]
        found = [one for one in found if len(one[0])]
        if not found:
            return np.empty(0, np.int64), np.empty((0, 0))
        steps = np.unique(np.concatenate([at for at, _ in found]))
        values = np.full((len(found), len(steps)), np.nan)
        for row, (at, value) in zip(values, found, strict=True):
            row[np.searchsorted(steps, at)] = np.where(np.isfinite(value), value, np.nan)
        return steps, values

    def runs_of(self, arm: str) -> pd.DataFrame:
        """Return the rows of `runs` that belong to one arm."""
        return self._runs_of.get(arm, self.runs.iloc[:0])

    @cached_property
    def _runs_of(self) -> dict[str, pd.DataFrame]:
        return {str(arm): rows for arm, rows in self.runs.groupby("arm", sort=False)}

    def cell_of(self, run_id: str) -> tuple[str, int]:
        """Return the arm and the seed of a run."""
        return self._cells[run_id]

    @cached_property
    def _cells(self) -> dict[str, tuple[str, int]]:
        cells = self.runs[["run_id", "arm", "seed"]].itertuples(index=False, name=None)
        return {str(run_id): (str(arm), int(seed)) for run_id, arm, seed in cells}

    def artifact_path(self, run_id: str, name: str) -> Path | None:
        """Return where an artifact of a run lies on this machine, None if it is not there."""
        run = self.runs.set_index("run_id").loc[run_id]
        return artifact_path(str(run["artifact_uri"]), name, self.tracking_uri)


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows of runs that came to their end, given their column `outcome`."""
    return runs[runs["outcome"].isin(FINISHED)]


def ended(study: Study) -> Study:
    """Keep the runs of a study that came to their end, and their points."""
    runs = finished(study.runs).reset_index(drop=True)
    is_theirs = study.metrics["run_id"].isin(runs["run_id"])
    return replace(study, runs=runs, metrics=study.metrics[is_theirs].reset_index(drop=True))


def has_one_reward_model(runs: pd.DataFrame) -> bool:
    """Say whether all runs were rewarded by the same reward model, or do not say by which."""
    return "reward_model" not in runs or runs["reward_model"].nunique() < 2


def remembered(function: Callable[Concatenate[Study, P], T]) -> Callable[Concatenate[Study, P], T]:
    """Keep what a function of a study and hashable arguments returned, as long as the study lives."""

    @wraps(function)
    def recall(study: Study, /, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (function, args, tuple(sorted(kwargs.items())))
        if key not in study.memory:
            study.memory[key] = function(study, *args, **kwargs)
        found: T = study.memory[key]
        return found

    return recall
