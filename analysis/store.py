"""Raw reading of an MLflow store: read-only SQL for SQLite, MlflowClient for any other URI."""

import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

MLFLOW_INFINITY = 1.7e308
"""MLflow stores ±inf as the largest float; a value beyond this was infinite when it was logged."""


@dataclass(frozen=True)
class RawRun:
    """One MLflow run that is not deleted; times in milliseconds since 1970, None where not set."""

    run_id: str
    status: str
    start_ms: int | None
    end_ms: int | None
    artifact_uri: str
    params: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True)
class RawStudy:
    """One experiment: its tags, its runs, and per run its metric points (metric, step, value)."""

    tags: dict[str, str]
    runs: tuple[RawRun, ...]
    points: dict[str, pd.DataFrame]


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return the database file of a `sqlite:///` URI, None for any other kind of URI."""
    prefix = "sqlite:///"
    return Path(tracking_uri[len(prefix) :].split("?")[0]) if _is(tracking_uri, prefix) else None


def _is(tracking_uri: str, prefix: str) -> bool:
    return tracking_uri.startswith(prefix) and len(tracking_uri) > len(prefix)


def experiment_names(tracking_uri: str) -> list[str]:
    """List the names of all experiments that are not deleted.

    Raises:
        ValueError: if a SQLite file is missing or holds no MLflow tables.
    """
    file = sqlite_file(tracking_uri)
    if file is None:
        return [found.name for found in _client(tracking_uri).search_experiments()]
    with _open(file) as db:
        rows = db.execute("SELECT name FROM experiments WHERE lifecycle_stage = 'active'")
        return [name for (name,) in rows]


def read(tracking_uri: str, experiment: str, metrics: frozenset[str] | None = None) -> RawStudy | None:
    """Read one experiment, or some of its metrics; None if the store has none of that name.

    Where a (run, metric, step) was logged more than once, the last timestamp wins, and among equal
    timestamps the larger value, as in MLflow's own table of latest metrics.

    Raises:
        ValueError: if a SQLite file is missing or holds no MLflow tables.
    """
    file = sqlite_file(tracking_uri)
    if file is None:
        return _read_client(tracking_uri, experiment, metrics)
    with _open(file) as db:
        return _read_sqlite(db, experiment, metrics)


@contextmanager
def _open(file: Path) -> Iterator[sqlite3.Connection]:
    """Open the database read-only, so that a report can be written while a study runs."""
    if not file.is_file():
        raise ValueError(f"there is no MLflow database at {file}: run a study first")
    address = f"file:{quote(str(file.resolve()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=20)) as db:
        try:
            yield db
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{file} cannot be read as an MLflow database: {error}") from error


def _read_sqlite(
    db: sqlite3.Connection, experiment: str, metrics: frozenset[str] | None
) -> RawStudy | None:
    found = db.execute(
        "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'",
        (experiment,),
    ).fetchone()
    if found is None:
        return None
    tags = dict(db.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", found))
    runs = db.execute(
        "SELECT run_uuid, status, start_time, end_time, artifact_uri FROM runs "
        "WHERE experiment_id = ? AND lifecycle_stage = 'active' ORDER BY start_time, run_uuid",
        found,
    ).fetchall()
    read_runs = tuple(_sqlite_run(db, row) for row in runs)
    points = {run.run_id: _sqlite_points(db, run, metrics) for run in read_runs}
    return RawStudy(tags, read_runs, points)


def _sqlite_run(db: sqlite3.Connection, row: tuple[Any, ...]) -> RawRun:
    params = dict(db.execute("SELECT key, value FROM params WHERE run_uuid = ?", row[:1]))
    tags = dict(db.execute("SELECT key, value FROM tags WHERE run_uuid = ?", row[:1]))
    return RawRun(row[0], row[1], row[2], row[3], row[4], params, tags)


def _sqlite_points(db: sqlite3.Connection, run: RawRun, metrics: frozenset[str] | None) -> pd.DataFrame:
    names = sorted(metrics or ())
    only = "" if metrics is None else f" AND key IN ({', '.join('?' * len(names))})"
    return _newest(
        db.execute(
            "SELECT key, step, CASE WHEN is_nan THEN NULL ELSE value END, timestamp "
            f"FROM metrics WHERE run_uuid = ?{only}",
            (run.run_id, *names),
        )
    )


def _newest(rows: Iterable[tuple[str, int, float | None, int]]) -> pd.DataFrame:
    """Sort points by metric and step, and keep of each the newest."""
    frame = pd.DataFrame(list(rows), columns=["metric", "step", "value", "timestamp"])
    value = frame["value"].to_numpy(np.float64)
    is_infinite = np.abs(value) > MLFLOW_INFINITY
    frame["value"] = np.where(is_infinite, np.copysign(math.inf, value), value)
    frame["metric"] = frame["metric"].astype("category")
    frame["step"] = frame["step"].astype("int64")
    by = ["metric", "step", "timestamp", "value"]
    newest = frame.sort_values(by, na_position="first").drop_duplicates(["metric", "step"], keep="last")
    return newest[["metric", "step", "value"]].reset_index(drop=True)


def _client(tracking_uri: str) -> Any:
    from mlflow import MlflowClient  # seconds of import that a SQLite store does not need

    return MlflowClient(tracking_uri)


def _read_client(tracking_uri: str, experiment: str, metrics: frozenset[str] | None) -> RawStudy | None:
    client = _client(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    if found is None or found.lifecycle_stage != "active":
        return None
    runs, token = [], None
    while token is None or token:
        page = client.search_runs(
            [found.experiment_id],
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            page_token=token,
        )
        runs += list(page)
        token = page.token or ""
    points = {run.info.run_id: _client_points(client, run, metrics) for run in runs}
    return RawStudy(dict(found.tags), tuple(map(_client_run, runs)), points)


def _client_run(run: Any) -> RawRun:
    info, data = run.info, run.data
    return RawRun(
        info.run_id,
        info.status,
        info.start_time,
        info.end_time,
        info.artifact_uri,
        dict(data.params),
        dict(data.tags),
    )


def _client_points(client: Any, run: Any, metrics: frozenset[str] | None) -> pd.DataFrame:
    return _newest(
        (point.key, point.step, point.value, point.timestamp)
        for key in run.data.metrics
        if metrics is None or key in metrics
        for point in client.get_metric_history(run.info.run_id, key)
    )
