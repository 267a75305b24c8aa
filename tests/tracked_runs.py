"""Tiny runs that are tracked, and what a store has of them against what it should have."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import SETTINGS, ListTracker, make_run
from workbench.stages.prepare import Prepared
from workbench.tracking.delivery import MARKER
from workbench.tracking.run_log import RunLog
from workbench.tracking.store import Store
from workbench.training import Run

LONG = SETTINGS.model_copy(update={"iterations": 8, "checkpoint_every": 3})
INTERVAL_SECONDS = 0.02
Point = tuple[str, int, float]


def make_log(prepared: Prepared, folder: Path, store: Store, *, seed: int = 0) -> RunLog:
    """Make a tiny run of the experiment `study`; its uploader is awake all the time."""
    run = make_run(prepared, folder, settings=LONG, seed=seed)
    return RunLog(replace(store, interval_seconds=INTERVAL_SECONDS), "study", "vanilla", run, {})


def expected_points(prepared: Prepared, folder: Path, *, seed: int = 0) -> Counter[Point]:
    """Return the points of a run that nothing disturbs and nobody tracks, but for wall-clock times."""
    tracker = ListTracker()
    result = make_run(prepared, folder, settings=LONG, seed=seed).train(tracker)
    steps = [(key, step, value) for step, metrics in tracker.records for key, value in metrics.items()]
    final = [(key, 0, value) for key, value in result.final.items()]
    return Counter(point for point in (*steps, *final) if not point[0].startswith("time/"))


def stored_points(store: Store, run_id: str | None) -> Counter[Point]:
    """Return the points that a store has of a run, but for wall-clock times; no step comes twice."""
    client, found = store.client, Counter[Point]()
    for key in client.get_run(run_id).data.metrics:
        history = client.get_metric_history(run_id, key)
        steps = [point.step for point in history]
        assert steps == sorted(set(steps)), f"{key} has steps twice or out of order: {steps}"
        if not key.startswith("time/"):
            found.update((key, point.step, point.value) for point in history)
    return found


def stored_steps(store: Store, fingerprint: str) -> int:
    """Return how many steps of a run a store has so far; 0 if it does not know the run."""
    found = store.runs(store.create_experiment("study"), f"tags.`workbench.run` = '{fingerprint}'")
    return sum(len(store.client.get_metric_history(run.info.run_id, MARKER)) for run in found)


def before_iteration(
    monkeypatch: pytest.MonkeyPatch, run: Run, actions: dict[int, Callable[[], object]]
) -> None:
    """Let something happen before the given iterations of a run, once."""
    iterate, left = run._iterate, dict(actions)

    def disturbed(k: int) -> dict[str, float]:
        left.pop(k, lambda: None)()
        return iterate(k)

    monkeypatch.setattr(run, "_iterate", disturbed)
