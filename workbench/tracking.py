"""Runs in MLflow: one run per arm and seed, every metric point exactly once, any tracking URI."""

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
os.environ.setdefault("DO_NOT_TRACK", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from workbench.checkpoint import CheckpointError, Record
from workbench.environment import git_commit, hardware, versions
from workbench.errors import one_sentence
from workbench.training import Interrupted, Result, Run

T = TypeVar("T")

BATCH = 1000
"""Metric points per call, MLflow's limit; one call is one transaction."""
MARKER = "stability/nonfinite_count"
"""The metric that is in every record, by which the store says how far a run has come."""
EXPERIMENT_TAG_LIMIT = 20_000
PATIENCE_SECONDS = 120.0
PASSING = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR")
"""Error codes of a store that is locked or cannot be reached, and may be in a moment."""


class TrackingError(RuntimeError):
    """The MLflow store cannot be used; nothing is lost, the checkpoint has the records."""


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store.

    Attributes:
        uri: tracking URI.
        artifacts: folder of the artifacts, where the store is a database; a server has its own.
        patience_seconds: how long a locked or absent store is waited for.
    """

    uri: str
    artifacts: Path
    patience_seconds: float = PATIENCE_SECONDS

    @property
    def client(self) -> MlflowClient:
        """Return a client; the first one for a new database creates its tables."""
        database = sqlite_file(self.uri)
        if database:
            database.parent.mkdir(parents=True, exist_ok=True)
        return self.patiently(lambda: MlflowClient(tracking_uri=self.uri))

    def patiently(self, act: Callable[[], T]) -> T:
        """Do something with the store; try again while it is locked or cannot be reached.

        Raises:
            TrackingError: if it refuses, or stays away for `patience_seconds`.
        """
        start, pause = time.monotonic(), 0.2
        while True:
            try:
                return act()
            except MlflowException as error:
                waited = time.monotonic() - start
                reason = " ".join(str(error).split())[:200]
                if error.error_code not in PASSING:
                    raise TrackingError(f"the MLflow store {self.uri} refused: {reason}") from error
                if waited > self.patience_seconds:
                    raise TrackingError(
                        f"the MLflow store {self.uri} did not answer for {waited:.0f} s ({reason});"
                        " see to it and run the same command again"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def create_experiment(self, name: str) -> str:
        """Return the id of the experiment of this name, made if it is not there.

        Call it in one process before others open the store: creating tables is a race.

        Raises:
            TrackingError: if an experiment of this name was deleted and not purged.
        """
        client = self.client
        found = self.patiently(lambda: client.get_experiment_by_name(name))
        if found is None:
            is_database = urlsplit(self.uri).scheme not in ("http", "https", "databricks")
            place = (self.artifacts / name).resolve().as_uri() if is_database else None
            return str(self.patiently(lambda: client.create_experiment(name, artifact_location=place)))
        if found.lifecycle_stage == "deleted":
            raise TrackingError(
                f"experiment {name} was deleted in MLflow; restore it with"
                f" `mlflow experiments restore -x {found.experiment_id}` or name the study otherwise"
            )
        return str(found.experiment_id)

    def tag_experiment(self, name: str, tags: Mapping[str, Any]) -> None:
        """Write tags of an experiment, as JSON."""
        client, experiment = self.client, self.create_experiment(name)
        for key, value in tags.items():
            text = json.dumps(value)
            self.patiently(lambda k=key, t=text: client.set_experiment_tag(experiment, k, t))  # type: ignore[misc]

    def runs(self, experiment: str, where: str = "") -> list[Any]:
        """Return all runs of an experiment that are not deleted, page by page."""
        client, found, token = self.client, [], None
        while True:
            page = self.patiently(
                lambda t=token: client.search_runs([experiment], where, max_results=1000, page_token=t)  # type: ignore[misc]
            )
            found += list(page)
            token = page.token
            if not token:
                return found


def default_store(home: Path, uri: str | None = None) -> Store:
    """Return the store of a home folder: its SQLite file, or another URI."""
    return Store(uri or f"sqlite:///{(home / 'mlflow.db').resolve()}", home / "artifacts")


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a `sqlite:///` URI, None for any other."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


class MlflowTracker:
    """Sends records of one run to MLflow, whole steps in batches, each once.

    A batch is one transaction, and after a crash the store itself says which step arrived last; a
    batch sent twice because its answer was lost has the same timestamps, so MLflow stores it once.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        """Open the run.

        Args:
            store: where it is.
            run_id: MLflow's id of the run.
        """
        self._store, self._client, self.run_id = store, store.client, run_id
        self._last: int | None = None

    def last_step(self) -> int:
        """Return the last step that has arrived, or −1."""
        if self._last is None:
            points = self._store.patiently(lambda: self._client.get_metric_history(self.run_id, MARKER))
            self._last = max((point.step for point in points), default=-1)
        return self._last

    def log(self, records: Sequence[Record]) -> None:
        """Log records, all of one step or none.

        Raises:
            ValueError: if a record has more metrics than one call takes.
        """
        batch: list[Metric] = []
        for step, metrics in records:
            points = self._points(step, metrics)
            if len(batch) + len(points) > BATCH:
                self._send(batch)
                batch = []
            batch += points
        self._send(batch)

    def log_final(self, metrics: Mapping[str, float]) -> None:
        """Log end-of-run metrics at step 0, so that MLflow draws them as bars; once."""
        known = self._store.patiently(lambda: self._client.get_run(self.run_id)).data.metrics
        self._send(self._points(0, {k: v for k, v in metrics.items() if k not in known}))

    def _points(self, step: int, metrics: Mapping[str, float]) -> list[Metric]:
        if len(metrics) > BATCH:
            raise ValueError(f"a step has {len(metrics)} metrics, and one call takes {BATCH}")
        now = int(time.time() * 1000)
        return [Metric(key, value, now, step) for key, value in metrics.items()]

    def _send(self, batch: Sequence[Metric]) -> None:
        if batch:
            self._store.patiently(lambda: self._client.log_batch(self.run_id, metrics=batch))
            steps = [point.step for point in batch if point.key == MARKER]
            self._last = max([self.last_step(), *steps])


@dataclass(frozen=True)
class RunLog:
    """The MLflow run of one arm and seed, from parameters to outcome.

    Everything here can be done again after a crash and leaves the same run behind.

    Attributes:
        store: where it is.
        experiment: id of the experiment.
        arm: name of the arm.
        run: what is trained.
        tags: tags besides those that every run has, such as `optuna_trial`.
    """

    store: Store
    experiment: str
    arm: str
    run: Run
    tags: Mapping[str, str]

    def train(self, is_interrupted: Callable[[], bool] = lambda: False) -> tuple[str, Result]:
        """Train the run to its end and write down how it ended.

        Returns:
            MLflow's run id, and the result.
        Raises:
            Interrupted: if asked to stop.
            TrackingError: if the store stays away.
            CheckpointError: if the disk is full, or the checkpoint belongs to another run.
            Exception: whatever made the run fail; its outcome and error are written down.
        """
        run_id = self.open()
        try:
            result = self.run.train(MlflowTracker(self.store, run_id), is_interrupted)
        except (Interrupted, TrackingError, CheckpointError):
            raise
        except Exception as error:
            self._fail(run_id, error)
            raise
        self._finish(run_id, result)
        return run_id, result

    def open(self) -> str:
        """Find the run that was begun before, or create it; return its id."""
        name = f"{self.arm}/s{self.run.seed}"
        mine = f"tags.`workbench.cell` = '{name}' and tags.`workbench.run` = '{self.run.fingerprint}'"
        client, found = self.store.client, self.store.runs(self.experiment, mine)
        tags = {"workbench.cell": name, "workbench.run": self.run.fingerprint, "outcome": "running"}
        tags |= self.facts() | dict(self.tags)  # from the first moment: a kill may come right after it
        if not found:
            create = lambda: client.create_run(self.experiment, tags=tags, run_name=name)  # noqa: E731
            found = [self.store.patiently(create)]
        run_id = str(found[0].info.run_id)
        self.store.patiently(lambda: client.update_run(run_id, status="RUNNING"))
        if "error" in found[0].data.tags:
            self.store.patiently(lambda: client.delete_tag(run_id, "error"))
        params = [Param(key, str(value)) for key, value in self.params().items()]
        marks = [RunTag(key, value) for key, value in tags.items()]
        self.store.patiently(lambda: client.log_batch(run_id, params=params, tags=marks))
        self._write(run_id, "recipe.txt", describe_run(self.run))
        return run_id

    def params(self) -> dict[str, Any]:
        """Return arm, seed, task, and the recipe and settings flattened."""
        run = self.run
        params: dict[str, Any] = {"arm": self.arm, "seed": run.seed, "task": run.task.name}
        params |= {f"trick.{trick.name}": "true" for trick in run.recipe.tricks}
        params |= run.recipe.parameters()
        return params | {f"ppo.{key}": value for key, value in run.settings.model_dump().items()}

    def facts(self) -> dict[str, str]:
        """Return the tags that every run has."""
        return {
            "recipe_hash": self.run.recipe.fingerprint(),
            "prepared_hash": self.run.prepared.fingerprint,
            "git_commit": git_commit(),
            "hardware": hardware(self.run.accelerator.device),
            "versions": json.dumps(versions()),
        }

    def _finish(self, run_id: str, result: Result) -> None:
        self._write(run_id, "samples.json", _table(result.samples))
        MlflowTracker(self.store, run_id).log_final(result.final)
        collapse = result.collapse
        tags = {"mlflow.loggedArtifacts": json.dumps([{"path": "samples.json", "type": "table"}])}
        if collapse:
            tags |= {"collapse_iteration": str(collapse.iteration), "collapse_reason": collapse.reason}
        self._close(run_id, tags | {"outcome": "collapsed" if collapse else "ok"}, "FINISHED")

    def _fail(self, run_id: str, error: Exception) -> None:
        self._write(run_id, "error.txt", "".join(traceback.format_exception(error)))
        self._close(run_id, {"error": one_sentence(error), "outcome": "failed"}, "FAILED")

    def _close(self, run_id: str, tags: Mapping[str, str], status: str) -> None:
        client, marks = self.store.client, [RunTag(key, value) for key, value in tags.items()]
        self.store.patiently(lambda: client.log_batch(run_id, tags=marks))
        self.store.patiently(lambda: client.set_terminated(run_id, status))

    def _write(self, run_id: str, name: str, text: str) -> None:
        client = self.store.client
        self.store.patiently(lambda: client.log_text(run_id, text, name))


def describe_run(run: Run) -> str:
    """Write down recipe and settings as text."""
    lines = [f"{run.recipe.name} {run.recipe.fingerprint()}", ""]
    lines += [f"{key} = {value}" for key, value in run.recipe.parameters().items()]
    bare = [trick.name for trick in run.recipe.tricks if not trick.hypers()]
    lines += [*bare, "", *(f"ppo.{key} = {value}" for key, value in run.settings.model_dump().items())]
    return "\n".join(lines) + "\n"


def _table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Write a table as MLflow's `log_table` does, which would append to what a crash left behind."""
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return json.dumps({"columns": list(columns), "data": rows})
