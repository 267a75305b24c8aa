"""Raw reading of an MLflow store: read-only SQL for SQLite, MlflowClient for any other URI."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from analysis.store import client, sqlite
from analysis.store.raw import RawStudy, Tell, silent, without_password


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return the database file of a `sqlite:///` URI, None for any other kind of URI."""
    name = tracking_uri.removeprefix("sqlite:///")
    return Path(name.split("?")[0]) if name and name != tracking_uri else None


def experiment_names(tracking_uri: str) -> list[str]:
    """List the names of all experiments that are not deleted.

    Raises:
        ValueError: if a SQLite file is missing or holds no MLflow tables.
    """
    file = sqlite_file(tracking_uri)
    if file is None:
        return client.experiment_names(tracking_uri)
    return sqlite.experiment_names(file)


def metric_names(tracking_uri: str, experiment: str) -> frozenset[str]:
    """Return the names of all metrics of an experiment; of none where there is no such experiment."""
    file = sqlite_file(tracking_uri)
    if file is None:
        return client.metric_names(tracking_uri, experiment)
    return sqlite.metric_names(file, experiment)


def deleted_runs(tracking_uri: str) -> frozenset[str]:
    """Return the ids of runs that were deleted, where that is known at once: in a SQLite file."""
    file = sqlite_file(tracking_uri)
    return sqlite.deleted_runs(file) if file and file.is_file() else frozenset()


def deleted_sentence(deleted: Mapping[str, str], tracking_uri: str) -> str:
    """Say which cells lack their run since it was deleted, and how to have it back.

    Args:
        deleted: id of the run by the name of its cell.
        tracking_uri: of the store.
    """
    named = ", ".join(f"{cell} (run {run_id})" for cell, run_id in sorted(deleted.items()))
    said = (
        f"Ended, then deleted in MLflow, and left out: {named}; to have one back: "
        f"`MLFLOW_TRACKING_URI={quote(tracking_uri)} mlflow runs restore --run-id RUN`."
    )
    return without_password(said, tracking_uri)


def read(
    tracking_uri: str, experiment: str, metrics: frozenset[str] | None = None, *, tell: Tell = silent
) -> RawStudy | None:
    """Read one experiment, or some of its metrics; None if the store has none of that name.

    Where a (run, metric, step) was logged more than once, the last timestamp wins, and among equal
    timestamps the larger value, as in MLflow's own table of latest metrics.

    Args:
        tracking_uri: any MLflow tracking URI.
        experiment: its name.
        metrics: read these alone; all by default.
        tell: is told after each run how many are read, and how many there are.
    Raises:
        ValueError: if a SQLite file is missing or holds no MLflow tables.
    """
    file = sqlite_file(tracking_uri)
    if file is None:
        return client.read(tracking_uri, experiment, metrics, tell)
    return sqlite.read(file, experiment, metrics, tell)
