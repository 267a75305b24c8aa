"""Raw reading of an MLflow store: read-only SQL for SQLite, MlflowClient for any other URI."""

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]

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
class Points:
    """Metric points of one run, sorted by metric and step, one for each pair of the two.

    Attributes:
        names: the metrics, sorted.
        metric: [P] int16, place of each point's metric in `names`.
        step: [P] int64.
        value: [P] float64.
    """

    names: tuple[str, ...]
    metric: Numbers
    step: Numbers
    value: Numbers


@dataclass(frozen=True)
class RawStudy:
    """One experiment: its id and tags, its runs, and the points of each run by its id."""

    experiment_id: str
    tags: dict[str, str]
    runs: tuple[RawRun, ...]
    points: dict[str, Points]


Tell = Callable[[int, int], object]
"""Is told after each run how many are read, and how many there are."""


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


def metric_names(tracking_uri: str, experiment: str) -> frozenset[str]:
    """Return the names of all metrics of an experiment; of none where there is no such experiment."""
    file = sqlite_file(tracking_uri)
    if file is None:
        found = _read_client(tracking_uri, experiment, None, silent)
        return (
            frozenset(name for one in found.points.values() for name in one.names)
            if found
            else frozenset()
        )
    with _open(file) as db:
        rows = db.execute(
            "SELECT DISTINCT key FROM latest_metrics JOIN runs USING (run_uuid) "
            "JOIN experiments USING (experiment_id) "
            "WHERE experiments.name = ? AND runs.lifecycle_stage = 'active'",
            (experiment,),
        )
        return frozenset(name for (name,) in rows)


def silent(done: int, total: int) -> None:
    """Take no notice of how far the reading has come."""


def read(
    tracking_uri: str, experiment: str, metrics: frozenset[str] | None = None, *, tell: Tell = silent
) -> RawStudy | None:
    """Read one experiment, or some of its metrics; None if the store has none of that name.

    Where a (run, metric, step) was logged more than once, the last timestamp wins, and among equal
    timestamps the larger value, as in MLflow's own table of latest metrics.

    Raises:
        ValueError: if a SQLite file is missing or holds no MLflow tables.
    """
    file = sqlite_file(tracking_uri)
    if file is None:
        return _read_client(tracking_uri, experiment, metrics, tell)
    with _open(file) as db:
        return _read_sqlite(db, experiment, metrics, tell)


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
    db: sqlite3.Connection, experiment: str, metrics: frozenset[str] | None, tell: Tell
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
    points = {}
    for done, run in enumerate(read_runs, 1):
        points[run.run_id] = _sqlite_points(db, run, metrics)
        tell(done, len(read_runs))
    return RawStudy(str(found[0]), tags, read_runs, points)


def _sqlite_run(db: sqlite3.Connection, row: tuple[Any, ...]) -> RawRun:
    params = dict(db.execute("SELECT key, value FROM params WHERE run_uuid = ?", row[:1]))
    tags = dict(db.execute("SELECT key, value FROM tags WHERE run_uuid = ?", row[:1]))
    return RawRun(row[0], row[1], row[2], row[3], row[4], params, tags)


def _sqlite_points(db: sqlite3.Connection, run: RawRun, metrics: frozenset[str] | None) -> Points:
    """Read the points of one run as plain numbers, which takes two thirds of the time of rows."""
    names = sorted(metrics or ())
    only = "" if metrics is None else f" AND key IN ({', '.join('?' * len(names))})"
    asked = (run.run_id, *names)
    db.execute("BEGIN")  # both queries see the same points, though the run may be going on
    counts = db.execute(
        f"SELECT key, count(*) FROM metrics WHERE run_uuid = ?{only} GROUP BY key ORDER BY key", asked
    ).fetchall()
    rows = db.execute(
        "SELECT step, value, is_nan, timestamp FROM metrics "
        f"WHERE run_uuid = ?{only} ORDER BY key, step",
        asked,
    )
    numbers = np.fromiter(chain.from_iterable(rows), np.float64).reshape(-1, 4)
    db.execute("COMMIT")
    step, value, is_nan, time = numbers.T
    metric = np.repeat(np.arange(len(counts)), [count for _, count in counts])
    return newest([name for name, _ in counts], metric, step, np.where(is_nan, np.nan, value), time)


def newest(
    names: Sequence[str], metric: Numbers, step: Numbers, value: Numbers, time: Numbers
) -> Points:
    """Keep of the points of each metric and step the newest.

    Args:
        names: the metrics, sorted.
        metric: [P] place of each point's metric in `names`.
        step, value, time: [P]; points of equal time are ordered by value, NaN before any other.
    """
    value = np.where(np.abs(value) > MLFLOW_INFINITY, np.copysign(math.inf, value), value)
    floor = np.where(np.isnan(value), -math.inf, value)
    order = np.arange(len(step))
    if not _is_sorted(metric, step):
        order = np.lexsort((floor, time, step, metric))
        same = (np.diff(metric[order]) == 0) & (np.diff(step[order]) == 0)
        order = order[~np.append(same, False)]
    return Points(
        tuple(names), metric[order].astype(np.int16), step[order].astype(np.int64), value[order]
    )


def _is_sorted(metric: Numbers, step: Numbers) -> bool:
    """Say whether points are in the order of metric and step, with one for each pair."""
    return bool(np.all((np.diff(metric) > 0) | ((np.diff(metric) == 0) & (np.diff(step) > 0))))


def _client(tracking_uri: str) -> Any:
    from mlflow import MlflowClient  # seconds of import that a SQLite store does not need

    return MlflowClient(tracking_uri)


def _read_client(
    tracking_uri: str, experiment: str, metrics: frozenset[str] | None, tell: Tell
) -> RawStudy | None:
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
    points = {}
    for done, run in enumerate(runs, 1):
        points[run.info.run_id] = _client_points(client, run, metrics)
        tell(done, len(runs))
    return RawStudy(str(found.experiment_id), dict(found.tags), tuple(map(_client_run, runs)), points)


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


def _client_points(client: Any, run: Any, metrics: frozenset[str] | None) -> Points:
    names = sorted(name for name in run.data.metrics if metrics is None or name in metrics)
    found = [client.get_metric_history(run.info.run_id, name) for name in names]
    rows = [(point.step, point.value, point.timestamp) for history in found for point in history]
    step, value, time = np.array(rows, np.float64).reshape(-1, 3).T
    metric = np.repeat(np.arange(len(names)), [len(history) for history in found])
    return newest(names, metric, step, value, time)
