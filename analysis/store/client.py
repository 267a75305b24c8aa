"""Read an MLflow store through MLflow's client: tracking servers and databases other than SQLite."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from analysis.store.raw import Points, RawRun, RawStudy, Tell, newest, without_password


class StoreError(RuntimeError):
    """A store cannot be read: it is away, or refuses."""


def experiment_names(tracking_uri: str) -> list[str]:
    """List the names of all experiments that are not deleted."""
    with _client_of(tracking_uri) as client:
        return [found.name for found in client.search_experiments()]


def metric_names(tracking_uri: str, experiment: str) -> frozenset[str]:
    """Return the names of all metrics of an experiment; of none where there is no such experiment."""
    with _client_of(tracking_uri) as client:
        found = _find(client, experiment)
        runs = _runs(client, found.experiment_id) if found else []
    return frozenset(name for run in runs for name in run.data.metrics)


def read(
    tracking_uri: str, experiment: str, metrics: frozenset[str] | None, tell: Tell
) -> RawStudy | None:
    """Read one experiment, or some of its metrics; see `store.read`."""
    with _client_of(tracking_uri) as client:
        found = _find(client, experiment)
        if found is None:
            return None
        runs, points = _runs(client, found.experiment_id), {}
        for done, run in enumerate(runs, 1):
            points[run.info.run_id] = _points(client, run, metrics)
            tell(done, len(runs))
        deleted = tuple(map(_run, _runs(client, found.experiment_id, "deleted_only")))
    tags, kept = dict(found.tags), tuple(map(_run, runs))
    return RawStudy(str(found.experiment_id), tags, kept, points, deleted)


@contextmanager
def _client_of(tracking_uri: str) -> Iterator[Any]:
    """Yield a client; what MLflow says of a store that is away, or refuses, becomes one sentence.

    Raises:
        StoreError: in the place of MLflow's own error, or if the address is the path of a database.
    """
    path = Path(tracking_uri)
    database = path / "mlflow.db" if path.is_dir() else path
    if database.suffix == ".db" and database.is_file():
        raise StoreError(
            f"{tracking_uri} is a path, not an address; write sqlite:///{database.resolve()}"
        )
    from mlflow import MlflowClient  # seconds of import that a SQLite store does not need
    from mlflow.exceptions import MlflowException

    try:
        yield MlflowClient(tracking_uri)
    except MlflowException as error:
        reason = str(error).partition(" with exception ")[0].partition(". ")[0]
        said = f"the MLflow store {tracking_uri} cannot be read: {reason}"
        raise StoreError(without_password(said, tracking_uri)) from error


def _find(client: Any, experiment: str) -> Any:
    """Return the experiment of this name; None if there is none, or it was deleted."""
    found = client.get_experiment_by_name(experiment)
    return found if found and found.lifecycle_stage == "active" else None


def _runs(client: Any, experiment_id: str, view: str = "active_only") -> list[Any]:
    """Return all runs that are not deleted, or in another of MLflow's views, page by page."""
    from mlflow.entities import ViewType

    runs, token = [], None
    while token is None or token:
        page = client.search_runs(
            [experiment_id],
            run_view_type=ViewType.from_string(view),
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            page_token=token,
        )
        runs += list(page)
        token = page.token or ""
    return runs


def _run(run: Any) -> RawRun:
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


def _points(client: Any, run: Any, metrics: frozenset[str] | None) -> Points:
    names = sorted(name for name in run.data.metrics if metrics is None or name in metrics)
    found = [client.get_metric_history(run.info.run_id, name) for name in names]
    rows = [(point.step, point.value, point.timestamp) for history in found for point in history]
    step, value, time = np.array(rows, np.float64).reshape(-1, 3).T
    metric = np.repeat(np.arange(len(names)), [len(history) for history in found])
    return newest(names, metric, step, value, time)
