"""Read an MLflow store out of its SQLite file, by read-only SQL: ten times faster than a client."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from analysis.store.raw import Points, RawRun, RawStudy, Tell, newest


def experiment_names(file: Path) -> list[str]:
    """List the names of all experiments that are not deleted."""
    with _open(file) as db:
        rows = db.execute("SELECT name FROM experiments WHERE lifecycle_stage = 'active'")
        return [name for (name,) in rows]


def metric_names(file: Path, experiment: str) -> frozenset[str]:
    """Return the names of all metrics of an experiment; of none where there is no such experiment."""
    with _open(file) as db:
        rows = db.execute(
            "SELECT DISTINCT key FROM latest_metrics JOIN runs USING (run_uuid) "
            "JOIN experiments USING (experiment_id) "
            "WHERE experiments.name = ? AND runs.lifecycle_stage = 'active'",
            (experiment,),
        )
        return frozenset(name for (name,) in rows)


def read(file: Path, experiment: str, metrics: frozenset[str] | None, tell: Tell) -> RawStudy | None:
    """Read one experiment, or some of its metrics; see `store.read`."""
    with _open(file) as db:
        found = db.execute(
            "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'",
            (experiment,),
        ).fetchone()
        if found is None:
            return None
        tags = dict(db.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", found))
        runs = _runs(db, found)
        points = {}
        for done, run in enumerate(runs, 1):
            points[run.run_id] = _points(db, run, metrics)
            tell(done, len(runs))
        deleted = _runs(db, found, "deleted")
    return RawStudy(str(found[0]), tags, runs, points, deleted)


def deleted_runs(file: Path) -> frozenset[str]:
    """Return the ids of all runs that were deleted and can be restored."""
    with _open(file) as db:
        rows = db.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted'")
        return frozenset(run_id for (run_id,) in rows)


def _runs(
    db: sqlite3.Connection, experiment: tuple[Any, ...], stage: str = "active"
) -> tuple[RawRun, ...]:
    rows = db.execute(
        "SELECT run_uuid, status, start_time, end_time, artifact_uri FROM runs "
        "WHERE experiment_id = ? AND lifecycle_stage = ? ORDER BY start_time, run_uuid",
        (*experiment, stage),
    ).fetchall()
    return tuple(_run(db, row) for row in rows)


def _run(db: sqlite3.Connection, row: tuple[Any, ...]) -> RawRun:
    params = dict(db.execute("SELECT key, value FROM params WHERE run_uuid = ?", row[:1]))
    tags = dict(db.execute("SELECT key, value FROM tags WHERE run_uuid = ?", row[:1]))
    return RawRun(row[0], row[1], row[2], row[3], row[4], params, tags)


def _points(db: sqlite3.Connection, run: RawRun, metrics: frozenset[str] | None) -> Points:
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
