"""From a run's spool to MLflow: in order, whole steps only, every point once.

What is sent can be sent again. The store itself says which step arrived last, steps up to that one
are never sent, and a batch whose answer was lost has the same timestamps, so MLflow keeps one of two.
A run that is finished in the store has everything, whoever sent it: nothing changes it any more.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from workbench.tracking.spool import Entry, read
from workbench.tracking.store import Store

BATCH = 1000
"""Metric points per call, MLflow's limit; one call is one transaction."""
PARAMS = 100
"""Parameters per call, MLflow's limit."""
MARKER = "stability/nonfinite_count"
"""The metric that is in every record, by which the store says how far a run has come."""


class Delivery:
    """One spool on its way to a store.

    Attributes:
        run_id: MLflow's id of the run, None while it is not known.
        name: of the run; empty while it is not known.
        last_step: the last step that has arrived, or −1.
        steps: how many were sent here.
        is_over: whether the spool holds nothing more that the store is to know, now or later.
        is_finished: whether the store has all of the run.
    """

    def __init__(self, store: Store, path: Path) -> None:
        """Name the store and the spool; nothing is sent yet."""
        self._store, self._path, self._position = store, path, 0
        self._known: frozenset[str] = frozenset()
        self.run_id: str | None = None
        self.name = ""
        self.last_step = -1
        self.steps = 0
        self.is_over = self.is_finished = False

    def advance(self) -> None:
        """Send what is in the spool and not in the store; after an error, call it again.

        Raises:
            AwayError: if the store is locked or cannot be reached.
            TrackingError: if it refuses.
        """
        self._store.attempt(self._advance)

    def _advance(self) -> None:
        if self._path.stat().st_size == self._position:
            return
        if self.run_id:
            self._note(self._client.get_run(self.run_id))
        for entries, end in parcels(read(self._path, self._position)):
            if not self.is_finished:
                self._send(entries)
            self._position = end
            self.is_over = self.is_finished or entries[-1]["kind"] == "end"

    @cached_property
    def _client(self) -> MlflowClient:
        return self._store.connect()

    def _send(self, entries: list[Entry]) -> None:
        first = entries[0]
        match first["kind"]:
            case "open":
                self._open(first)
            case "text":
                self._client.log_text(self.run_id, first["text"], first["path"])
            case "step":
                self._send_steps([entry for entry in entries if entry["step"] > self.last_step])
            case "final":
                metrics = {k: v for k, v in first["metrics"].items() if k not in self._known}
                self._log(points(metrics, first["time"], 0))
            case "end":
                self._close(first)

    def _send_steps(self, entries: list[Entry]) -> None:
        metrics: list[Metric] = []
        for entry in entries:
            metrics += points(entry["metrics"], entry["time"], entry["step"])
        self._log(metrics)
        self.steps += len(entries)
        self.last_step = max((entry["step"] for entry in entries), default=self.last_step)

    def _log(self, metrics: list[Metric]) -> None:
        for first in range(0, len(metrics), BATCH):
            with _collector_paused():
                self._client.log_batch(self.run_id, metrics=metrics[first : first + BATCH])

    def _open(self, entry: Entry) -> None:
        """Find the run that was begun before, or create it; say what it is."""
        client, self.name = self._client, entry["name"]
        experiment = self._store.experiment(client, entry["experiment"])
        mine = f"tags.`workbench.cell` = '{self.name}' and tags.`workbench.run` = '{entry['run']}'"
        found = list(client.search_runs([experiment], mine))
        run = found[0] if found else self._create(experiment, entry)
        self.run_id = str(run.info.run_id)
        self._note(run)
        if self.is_finished:
            return
        told = run.data.params  # which MLflow lets nobody change
        params = [Param(key, value) for key, value in entry["params"].items() if key not in told]
        for first in range(0, len(params), PARAMS):
            client.log_batch(self.run_id, params=params[first : first + PARAMS])
        if found:
            self._reopen(run, entry)

    def _create(self, experiment: str, entry: Entry) -> Any:
        return self._client.create_run(
            experiment, start_time=entry["time"], tags=entry["tags"], run_name=self.name
        )

    def _reopen(self, run: Any, entry: Entry) -> None:
        self._client.update_run(self.run_id, status="RUNNING")
        if "error" in run.data.tags:
            self._client.delete_tag(self.run_id, "error")
        self._client.log_batch(self.run_id, tags=marks(entry["tags"]))

    def _close(self, entry: Entry) -> None:
        self._client.log_batch(self.run_id, tags=marks(entry["tags"]))
        self._client.set_terminated(self.run_id, entry["status"], entry["time"])

    def _note(self, run: Any) -> None:
        """Take down how far the store has come with the run; another process may write it, too."""
        self._known = frozenset(run.data.metrics)
        steps = [point.step for point in run.data._metric_objs if point.key == MARKER]
        self.last_step = max(self.last_step, *steps, -1)
        self.is_finished = run.info.status == "FINISHED"


def parcels(entries: Iterable[tuple[Entry, int]]) -> Iterator[tuple[list[Entry], int]]:
    """Group steps as far as one call takes them; any other entry is alone.

    Args:
        entries: each with the position where it ends.
    Yields:
        entries, with the position where the last of them ends.
    """
    steps: list[Entry] = []
    size = reached = 0
    for entry, end in entries:
        is_step = entry["kind"] == "step"
        more = len(entry["metrics"]) if is_step else BATCH
        if steps and size + more > BATCH:
            yield steps, reached
            steps, size = [], 0
        if is_step:
            steps.append(entry)
            size, reached = size + more, end
        else:
            yield [entry], end
    if steps:
        yield steps, reached


def points(metrics: Mapping[str, float], time_ms: int, step: int) -> list[Metric]:
    """Return metric points of a step; the marker comes last, after all that it stands for."""
    keys = sorted(metrics, key=lambda key: key == MARKER)
    return [Metric(key, metrics[key], time_ms, step) for key in keys]


def marks(tags: Mapping[str, str]) -> list[RunTag]:
    """Return tags as MLflow wants them."""
    return [RunTag(key, value) for key, value in tags.items()]


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector.

    MLflow makes thousands of objects of a batch, all gone at its end. Left alone, the collector counts
    them, and walks over everything that importing torch has left: a third of a second, again and again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
