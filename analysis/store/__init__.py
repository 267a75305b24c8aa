"""Raw reading of an MLflow store: read-only SQL for SQLite, MlflowClient for any other URI."""

from pathlib import Path

from analysis.store import client, sqlite
from analysis.store.raw import RawStudy, Tell, silent


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
