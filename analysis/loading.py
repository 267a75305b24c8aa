"""Read a study out of MLflow: runs, metric points, artifacts. Reads only, and never through torch."""

import json
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from analysis import store
from analysis.runs import FINISHED, Study, has_one_reward_model
from analysis.store.lent import with_lent
from analysis.store.raw import Points, RawRun, Tell, silent, without_password

SPEC = "workbench.study"
"""Tag of an experiment that says what was asked."""

_RUN_COLUMNS = (
    *("run_id", "arm", "seed", "outcome", "collapse_iteration", "collapse_reason"),
    *("start_ms", "end_ms", "artifact_uri"),
)
_OUTCOMES = ("running", *FINISHED, "failed")


def load(
    study: str,
    tracking_uri: str,
    metrics: frozenset[str] | None = None,
    *,
    tell: Tell = silent,
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
    lent = _json_tag(study, raw.tags, SPEC).get("lent", {})
    raw, missing = with_lent(raw, tracking_uri, metrics, lent)
    kept, notes = _cells(raw.runs)
    runs = pd.DataFrame([_row(run) for run in kept], columns=None if kept else _RUN_COLUMNS)
    spec, deleted = _spec(study, raw.tags, runs), _deleted(raw.deleted, kept)
    gone = [store.deleted_sentence(deleted, tracking_uri)] if deleted else []
    order = {arm: place for place, arm in enumerate(spec["arms"])}
    if len(runs):
        place = runs["arm"].map(lambda arm: order.get(arm, len(order)))
        runs = runs.iloc[np.lexsort((runs["seed"], runs["arm"], place))].reset_index(drop=True)
    params = tuple(sorted({name for run in kept for name in run.params} - {"arm", "seed"}))
    return Study(
        name=study,
        spec=spec,
        prepared=_prepared(_json_tag(study, raw.tags, "workbench.prepared"), runs),
        runs=runs,
        metrics=_points(runs, raw.points),
        params=params,
        tracking_uri=tracking_uri,
        experiment_id=raw.experiment_id,
        deleted=frozenset(deleted),
        notes=(*notes, *missing, *gone),
    )


def _unknown(study: str, tracking_uri: str) -> str:
    if study == "train":
        return without_password(f"no `workbench train` has been run in {tracking_uri}", tracking_uri)
    hidden = ("Default",)
    names = [name for name in store.experiment_names(tracking_uri) if name not in hidden]
    names = [name for name in names if not name.endswith("/summary")]
    near = get_close_matches(study, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has: {', '.join(names) or 'none'}"
    said = f"there is no study {study!r} in {tracking_uri}; {hint}"
    return without_password(said, tracking_uri)


def _json_tag(study: str, tags: dict[str, str], key: str) -> dict[str, Any]:
    try:
        value = json.loads(tags.get(key, "{}"))
    except json.JSONDecodeError as error:
        raise ValueError(f"tag {key} of study {study!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"tag {key} of study {study!r} must be a JSON object, got {value!r}")
    return value


def _prepared(told: dict[str, Any], runs: pd.DataFrame) -> dict[str, Any]:
    """Leave out the start's scores where each seed has a reward model, and so a zero, of its own."""
    if has_one_reward_model(runs):
        return told
    start = {key: value for key, value in told.get("start", {}).items() if "proxy" not in key}
    return told | {"start": start}


def _spec(study: str, tags: dict[str, str], runs: pd.DataFrame) -> dict[str, Any]:
    """Fill what an incomplete study tag leaves open from the runs themselves."""
    seen: dict[str, Any] = {
        "name": study,
        "question": "",
        "task": "",
        "settings": None,
        "arms": list(dict.fromkeys(runs["arm"])),
        "baseline": None,
        "seeds": sorted({int(seed) for seed in runs["seed"]}),
        "iterations": None,
        "rollout_size": None,
        "command": "",
    }
    return seen | _json_tag(study, tags, SPEC)


def _cells(runs: tuple[RawRun, ...]) -> tuple[list[RawRun], list[str]]:
    """Keep one run a cell: a finished one before an unfinished one, then the newest."""
    notes: list[str] = []
    cells: dict[tuple[str, int], RawRun] = {}
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


def _deleted(runs: tuple[RawRun, ...], kept: list[RawRun]) -> dict[str, str]:
    """Return the cells whose run ended and was deleted, and no other was made, with the run's id."""
    found = {_cell(run): run.run_id for run in runs if _is_finished(run)}
    return {cell: run_id for cell, run_id in found.items() if cell not in map(_cell, kept)}


def _cell(run: RawRun) -> str:
    return f"{run.params.get('arm')}/s{run.params.get('seed')}"


def _is_finished(run: RawRun) -> bool:
    return run.tags.get("outcome") in FINISHED


def _row(run: RawRun) -> dict[str, Any]:
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


def _points(runs: pd.DataFrame, points: dict[str, Points]) -> pd.DataFrame:
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
