"""Runs in MLflow: every point once, whole steps only, patience with a store that is locked."""

import math
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.entities import Metric

from workbench.checkpoint import Record
from workbench.tracking import MARKER, MlflowTracker, Store, TrackingError, default_store, sqlite_file


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return default_store(tmp_path_factory.mktemp("home"))


@pytest.fixture
def run_id(store: Store) -> str:
    return str(store.client.create_run(store.create_experiment("study")).info.run_id)


def record(step: int, metrics: int = 1) -> Record:
    return step, {f"reward/m{i}": float(step + i) for i in range(metrics)} | {MARKER: 0.0}


def logged(store: Store, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in store.client.get_metric_history(run_id, key)]


def test_points_arrive_once_in_order(store: Store, run_id: str) -> None:
    tracker = MlflowTracker(store, run_id)
    assert tracker.last_step() == -1
    tracker.log([record(0), record(1)])
    assert tracker.last_step() == 1
    assert MlflowTracker(store, run_id).last_step() == 1
    assert logged(store, run_id, "reward/m0") == [(0, 0.0), (1, 1.0)]


def test_large_logs_are_cut_between_steps(
    store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[Metric]] = []
    tracker = MlflowTracker(store, run_id)
    tracker.last_step()
    monkeypatch.setattr(tracker._client, "log_batch", lambda run, metrics: sent.append(list(metrics)))
    tracker.log([record(step, 399) for step in range(5)])  # 400 points a step, 1000 a call
    assert [len(batch) for batch in sent] == [800, 800, 400]
    assert [sorted({point.step for point in batch}) for batch in sent] == [[0, 1], [2, 3], [4]]


def test_a_batch_whose_answer_was_lost_is_stored_once(
    store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    tracker = MlflowTracker(store, run_id)
    send, lost = tracker._client.log_batch, []

    def lose_the_first(run: str, metrics: list[Metric]) -> None:
        send(run, metrics=metrics)
        if not lost:
            lost.append(True)
            raise MlflowException("connection reset")  # an internal error, which may pass

    monkeypatch.setattr(tracker._client, "log_batch", lose_the_first)
    tracker.log([record(0)])
    assert lost
    assert logged(store, run_id, "reward/m0") == [(0, 0.0)]


def test_final_metrics_are_logged_once_at_step_0(store: Store, run_id: str) -> None:
    for _ in range(2):  # the second time as after a crash
        MlflowTracker(store, run_id).log_final({"final/gold": 1.5})
    assert logged(store, run_id, "final/gold") == [(0, 1.5)]


def test_nan_is_stored_as_nan(store: Store, run_id: str) -> None:
    MlflowTracker(store, run_id).log([(0, {"reward/gap": math.nan, MARKER: 1.0})])
    [(_, value)] = logged(store, run_id, "reward/gap")
    assert math.isnan(value)


def test_a_locked_database_is_waited_for(store: Store, run_id: str) -> None:
    file = sqlite_file(store.uri)
    assert file
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(1.0, other.execute, ["ROLLBACK"]).start()
        MlflowTracker(store, run_id).log([record(0)])
    assert logged(store, run_id, "reward/m0") == [(0, 0.0)]


def test_a_database_locked_for_too_long_is_one_sentence(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    def locked() -> None:
        raise MlflowException("(sqlite3.OperationalError)\ndatabase is locked")

    hasty = Store(store.uri, store.artifacts, patience_seconds=0.1)
    with pytest.raises(TrackingError, match=r"did not answer .*database is locked") as error:
        hasty.patiently(locked)
    assert "run the same command again" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_refusal_is_not_waited_for(store: Store) -> None:
    with pytest.raises(TrackingError, match="refused"):
        store.patiently(lambda: store.client.get_run("0" * 32))


def test_a_deleted_experiment_says_how_to_restore_it(store: Store) -> None:
    number = store.create_experiment("gone")
    store.client.delete_experiment(number)
    with pytest.raises(TrackingError, match=f"restore -x {number}"):
        store.create_experiment("gone")


def test_another_uri_is_taken_as_it_is(tmp_path: Path) -> None:
    assert default_store(tmp_path, "http://127.0.0.1:1").uri == "http://127.0.0.1:1"
    assert sqlite_file("http://127.0.0.1:1") is None
