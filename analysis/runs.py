"""Read a study out of MLflow: runs, metric points, artifacts. Reads only, and never through torch."""

import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis import store
from analysis.artifacts import artifact_path

if TYPE_CHECKING:
    from analysis.tables import Tables

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
P = ParamSpec("P")
T = TypeVar("T")

_RUN_COLUMNS = (
    *("run_id", "arm", "seed", "outcome", "collapse_iteration", "collapse_reason"),
    *("start_ms", "end_ms", "artifact_uri"),
)
_OUTCOMES = ("running", "ok", "collapsed", "failed")


@dataclass(frozen=True, eq=False)
class Study:
    """One study as it stands in MLflow.

    Attributes:
        name: name of the experiment.
        spec: what was asked: question, task, arms, baseline, seeds, iterations, rollout_size,
            command.
        prepared: the pretrained, SFT and reward models that all arms share, and the policy's start.
        runs: one row a cell (arm × seed), in the order of `arms`: run_id, arm, seed, outcome,
            collapse_iteration (NaN unless collapsed), collapse_reason, start_ms, end_ms,
            artifact_uri, then the tags and the parameters under their own names.
        metrics: run_id, arm, seed, metric, step, value; one row a point, sorted by run, metric, step.
        params: those columns of `runs` that are parameters.
        tracking_uri: where it was read.
        experiment_id: MLflow's id of the experiment, part of the addresses of its pages.
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
    def tables(self) -> "Tables":
        """Every table of the report as a data frame, such as `study.tables.effects`."""
        from analysis.tables import tables_of  # tables are made of studies

        return tables_of(self)

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

    def artifact_path(self, run_id: str, name: str) -> Path | None:
        """Return where an artifact of a run lies on this machine, None if it is not there."""
        run = self.runs.set_index("run_id").loc[run_id]
        return artifact_path(str(run["artifact_uri"]), name, self.tracking_uri)


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


def load(
    study: str,
    tracking_uri: str,
    metrics: frozenset[str] | None = None,
    *,
    tell: store.Tell = store.silent,
) -> Study:
    """Read a study.

    Args:
        study: name of the study, which is the name of its MLflow experiment.
        tracking_uri: any MLflow tracking URI; `sqlite:///` is read by SQL, about ten times faster.
        metrics: read these alone; all by default.
        tell: is told after each run how many are read, and how many there are.
    Raises:
        ValueError: if the store or the study is missing, or the study's tags are not JSON objects.
    """
    raw = store.read(tracking_uri, study, metrics, tell=tell)
    if raw is None:
        raise ValueError(_unknown(study, tracking_uri))
    kept, notes = _cells(raw.runs)
    runs = pd.DataFrame([_row(run) for run in kept], columns=None if kept else _RUN_COLUMNS)
    spec = _spec(study, raw.tags, runs)
    order = {arm: place for place, arm in enumerate(spec["arms"])}
    if len(runs):
        place = runs["arm"].map(lambda arm: order.get(arm, len(order)))
        runs = runs.iloc[np.lexsort((runs["seed"], runs["arm"], place))].reset_index(drop=True)
    params = tuple(sorted({name for run in kept for name in run.params} - {"arm", "seed"}))
    return Study(
        name=study,
        spec=spec,
        prepared=_json_tag(study, raw.tags, "workbench.prepared"),
        runs=runs,
        metrics=_points(runs, raw.points),
        params=params,
        tracking_uri=tracking_uri,
        experiment_id=raw.experiment_id,
        notes=tuple(notes),
    )


def _unknown(study: str, tracking_uri: str) -> str:
    hidden = ("Default",)
    names = [name for name in store.experiment_names(tracking_uri) if name not in hidden]
    names = [name for name in names if not name.endswith("/summary")]
    near = get_close_matches(study, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has: {', '.join(names) or 'none'}"
    return f"there is no study {study!r} in {tracking_uri}; {hint}"


def _json_tag(study: str, tags: dict[str, str], key: str) -> dict[str, Any]:
    try:
        value = json.loads(tags.get(key, "{}"))
    except json.JSONDecodeError as error:
        raise ValueError(f"tag {key} of study {study!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"tag {key} of study {study!r} must be a JSON object, got {value!r}")
    return value


def _spec(study: str, tags: dict[str, str], runs: pd.DataFrame) -> dict[str, Any]:
    """Fill what an incomplete study tag leaves open from the runs themselves."""
    seen: dict[str, Any] = {
        "name": study,
        "question": "",
        "task": "",
        "arms": list(dict.fromkeys(runs["arm"])),
        "baseline": None,
        "seeds": sorted({int(seed) for seed in runs["seed"]}),
        "iterations": None,
        "rollout_size": None,
        "command": "",
    }
    return seen | _json_tag(study, tags, "workbench.study")


def _cells(runs: tuple[store.RawRun, ...]) -> tuple[list[store.RawRun], list[str]]:
    """Keep one run a cell: a finished one before an unfinished one, then the newest."""
    notes: list[str] = []
    cells: dict[tuple[str, int], store.RawRun] = {}
    doubled: set[str] = set()
    for run in sorted(runs, key=lambda run: (_is_finished(run), run.start_ms or 0)):
        arm, seed = run.params.get("arm"), run.params.get("seed", "")
        if not arm or not seed.lstrip("-").isdigit():
            notes.append(f"Run {run.run_id} has no arm or no integer seed and was left out.")
            continue
        if (arm, int(seed)) in cells:
            doubled.add(f"{arm}/s{seed}")
        cells[arm, int(seed)] = run
    if doubled:
        names = ", ".join(sorted(doubled))
        notes.append(f"More than one run was recorded for {names}; the newest finished one is used.")
    return list(cells.values()), notes


def _is_finished(run: store.RawRun) -> bool:
    return run.tags.get("outcome") in ("ok", "collapsed")


def _row(run: store.RawRun) -> dict[str, Any]:
    tags = {key: value for key, value in run.tags.items() if not key.startswith("mlflow.")}
    outcome = tags.get("outcome", "running")
    collapse = tags.get("collapse_iteration", "")
    return {
        "run_id": run.run_id,
        "arm": run.params["arm"],
        "seed": int(run.params["seed"]),
        "outcome": outcome if outcome in _OUTCOMES else "failed",
        "collapse_iteration": float(collapse) if collapse.isdigit() else np.nan,
        "collapse_reason": tags.get("collapse_reason", ""),
        "start_ms": run.start_ms,
        "end_ms": run.end_ms,
        "artifact_uri": run.artifact_uri,
    } | {key: value for key, value in (tags | run.params).items() if key not in _RUN_COLUMNS}


def _points(runs: pd.DataFrame, points: dict[str, store.Points]) -> pd.DataFrame:
    """Join the points of all runs; names as categories, so that millions of rows fit."""
    columns = ["run_id", "arm", "seed", "metric", "step", "value"]
    found = [points[run_id] for run_id in runs["run_id"]]
    if not any(len(one.step) for one in found):
        return pd.DataFrame({name: [] for name in columns}).astype({"step": int, "value": float})
    names = sorted({name for one in found for name in one.names})
    place = {name: i for i, name in enumerate(names)}
    places = [np.array([place[name] for name in one.names], np.int16) for one in found]
    metric = np.concatenate([to[one.metric] for to, one in zip(places, found, strict=True)])
    which = np.repeat(np.arange(len(found)), [len(one.step) for one in found])
    data = {
        "run_id": pd.Categorical(runs["run_id"], categories=runs["run_id"])[which],
        "arm": pd.Categorical(runs["arm"])[which],
        "seed": runs["seed"].to_numpy()[which],
        "metric": pd.Categorical.from_codes(metric, pd.Index(names)),
        "step": np.concatenate([one.step for one in found]),
        "value": np.concatenate([one.value for one in found]),
    }
    return pd.DataFrame(data, columns=columns, copy=False)
