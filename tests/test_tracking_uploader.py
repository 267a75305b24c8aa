"""From spool to store: every point once and in order, whatever was interrupted or sent before."""

import gc
import math
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import BAD_REQUEST, MlflowException

from workbench.checkpoint import Record
from workbench.locks import LockedError
from workbench.tracking.delivery import BATCH, MARKER, Delivery, parcels, points
from workbench.tracking.spool import Spool, held_spool, open_spool
from workbench.tracking.store import AwayError, Store, TrackingError, default_store
from workbench.tracking.uploader import Uploader

PATIENT = 300.0
PARAMS = {"arm": "vanilla", "seed": "0"}
TAGS = {"workbench.cell": "vanilla/s0", "outcome": "running"}


@pytest.fixture(scope="module")
def store(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    home = tmp_path_factory.mktemp("home")
    shutil.copy(empty_database, home)
    return default_store(home)


@pytest.fixture
def fingerprint(request: pytest.FixtureRequest) -> str:
    """Another run for every test: the store knows runs by it."""
    return str(request.node.name)


@pytest.fixture
def spool(folder: Path, fingerprint: str) -> Iterator[Spool]:
    """The spool of a run that has begun."""
    with open_spool(folder, fingerprint) as spool:
        begin(spool, fingerprint)
        yield spool


def begin(spool: Spool, fingerprint: str, params: Mapping[str, str] = PARAMS) -> None:
    tags = TAGS | {"workbench.run": fingerprint}
    named = {"run": fingerprint, "name": "vanilla/s0", "experiment": "study"}
    spool.write("open", {**named, "tags": tags, "params": params})


def end(spool: Spool, status: str = "FINISHED", **tags: str) -> None:
    spool.write("end", {"status": status, "tags": tags})


def record(step: int, metrics: int = 1) -> Record:
    return step, {MARKER: 0.0} | {f"reward/m{i}": float(step + i) for i in range(metrics)}


def delivered(store: Store, spool: Spool) -> Delivery:
    delivery = Delivery(store, spool.path)
    delivery.advance()
    return delivery


def uploading(store: Store, spool: Spool) -> Uploader:
    return Uploader(Delivery(store, spool.path), 0.01, spool.share())


def logged(store: Store, delivery: Delivery, key: str = "reward/m0") -> list[tuple[int, float]]:
    history = store.client.get_metric_history(delivery.run_id, key)
    return [(point.step, point.value) for point in history]


def test_a_run_arrives_with_all_that_it_said(store: Store, spool: Spool) -> None:
    spool.write("text", {"path": "recipe.txt", "text": "vanilla"})
    spool.log([record(0), record(1)])
    spool.write("final", {"metrics": {"final/gold": 1.5}})
    end(spool, outcome="ok")
    delivery = delivered(store, spool)
    run = store.client.get_run(delivery.run_id)
    assert (run.info.run_name, run.info.status) == ("vanilla/s0", "FINISHED")
    assert run.data.params == PARAMS
    assert run.data.tags["outcome"] == "ok"
    assert logged(store, delivery) == [(0, 0.0), (1, 1.0)]
    assert logged(store, delivery, "final/gold") == [(0, 1.5)]
    assert [file.path for file in store.client.list_artifacts(delivery.run_id)] == ["recipe.txt"]
    assert delivery.is_over


def test_more_parameters_than_one_call_takes_arrive(
    store: Store, folder: Path, fingerprint: str
) -> None:
    params = {f"p{number}": str(number) for number in range(250)}
    with open_spool(folder, fingerprint) as spool:
        begin(spool, fingerprint, params)
        run = store.client.get_run(delivered(store, spool).run_id)
    assert run.data.params == params


def test_begin_and_end_are_those_of_the_run_and_not_of_the_upload(store: Store, spool: Spool) -> None:
    end(spool)
    moments = iter(["1000", "2000"])
    spool.path.write_text(re.sub(r"(?<=\"time\": )\d+", lambda _: next(moments), spool.path.read_text()))
    info = store.client.get_run(delivered(store, spool).run_id).info
    assert (info.start_time, info.end_time) == (1000, 2000)


def test_what_is_written_later_follows_in_order(store: Store, spool: Spool) -> None:
    delivery = delivered(store, spool)
    for step in range(3):
        spool.log([record(step)])
        delivery.advance()
    assert logged(store, delivery) == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert (delivery.last_step, delivery.steps) == (2, 3)


def test_a_spool_sent_again_changes_nothing(store: Store, spool: Spool) -> None:
    spool.log([record(0), record(1)])
    spool.write("final", {"metrics": {"final/gold": 1.5}})
    first, again = delivered(store, spool), delivered(store, spool)
    assert again.run_id == first.run_id
    assert again.steps == 0
    assert logged(store, again) == [(0, 0.0), (1, 1.0)]
    assert logged(store, again, "final/gold") == [(0, 1.5)]


def test_a_spool_rebuilt_with_other_times_adds_only_what_is_new(
    store: Store, spool: Spool, folder: Path, fingerprint: str
) -> None:
    spool.log([record(0), record(1)])
    spool.write("final", {"metrics": {"final/gold": 1.5}})
    delivered(store, spool)
    with open_spool(folder.with_name("elsewhere"), fingerprint) as rebuilt:
        begin(rebuilt, fingerprint)
        rebuilt.log([record(0), record(1), record(2)])
        rebuilt.write("final", {"metrics": {"final/gold": 1.5, "final/proxy": 2.0}})
        delivery = delivered(store, rebuilt)
    assert logged(store, delivery) == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert logged(store, delivery, "final/gold") == [(0, 1.5)]
    assert logged(store, delivery, "final/proxy") == [(0, 2.0)]


def test_two_processes_with_one_run_send_no_step_that_the_other_has_sent(
    store: Store, spool: Spool, folder: Path, fingerprint: str
) -> None:
    with open_spool(folder.with_name("elsewhere"), fingerprint) as theirs:
        begin(theirs, fingerprint)
        mine, other = delivered(store, spool), delivered(store, theirs)
        for step in range(4):
            for delivery, journal in ((mine, spool), (other, theirs)):
                journal.log([record(step)])
                delivery.advance()
    assert mine.run_id == other.run_id
    assert logged(store, mine) == [(step, float(step)) for step in range(4)]
    assert (mine.steps, other.steps) == (4, 0)


def test_a_finished_run_is_left_alone(
    store: Store, spool: Spool, folder: Path, fingerprint: str
) -> None:
    spool.log([record(0)])
    delivery = delivered(store, spool)
    with open_spool(folder.with_name("elsewhere"), fingerprint) as theirs:
        begin(theirs, fingerprint)
        theirs.log([record(0), record(1)])
        end(theirs, outcome="ok")
        delivered(store, theirs)
    end(spool, "FAILED", outcome="failed")
    delivery.advance()
    begin(spool, fingerprint)
    late = delivered(store, spool)
    assert delivery.is_over and late.is_over
    run = store.client.get_run(delivery.run_id)
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "ok")
    assert logged(store, delivery) == [(0, 0.0), (1, 1.0)]


def test_a_failed_run_that_is_tried_again_loses_its_error(
    store: Store, spool: Spool, fingerprint: str
) -> None:
    end(spool, "FAILED", outcome="failed", error="out of memory")
    delivery = delivered(store, spool)
    assert store.client.get_run(delivery.run_id).data.tags["error"] == "out of memory"
    begin(spool, fingerprint)
    run = store.client.get_run(delivered(store, spool).run_id)
    assert run.info.status == "RUNNING"
    assert run.data.tags["outcome"] == "running"
    assert "error" not in run.data.tags


def test_the_collector_is_on_again_after_a_batch_that_failed(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.log([record(0)])
    seen: list[bool] = []
    delivery = delivered(store, spool)

    def fail(*_: Any, **__: Any) -> None:
        seen.append(gc.isenabled())
        raise MlflowException("connection reset")

    spool.log([record(1)])
    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    with pytest.raises(AwayError):
        delivery.advance()
    assert (seen, gc.isenabled()) == ([False], True)


def test_large_logs_are_cut_between_steps(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[Metric]] = []
    delivery = delivered(store, spool)
    monkeypatch.setattr(delivery._client, "log_batch", lambda run, metrics: sent.append(list(metrics)))
    spool.log([record(step, 399) for step in range(5)])  # 400 points a step, 1000 a call
    delivery.advance()
    assert [len(batch) for batch in sent] == [800, 800, 400]
    assert [sorted({point.step for point in batch}) for batch in sent] == [[0, 1], [2, 3], [4]]


def test_a_step_too_large_for_a_call_counts_as_arrived_with_its_last_part(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.log([record(0, 2 * BATCH)])
    calls = failing_calls(monkeypatch, 2, before=True)
    delivery = Delivery(store, spool.path)
    with pytest.raises(AwayError):
        delivery.advance()
    assert Delivery(store, spool.path).last_step == -1
    delivery.advance()
    assert len(calls) > 2
    assert logged(store, delivery) == [(0, 0.0)]
    assert logged(store, delivery, f"reward/m{2 * BATCH - 1}") == [(0, 2.0 * BATCH - 1)]


def failing_calls(monkeypatch: pytest.MonkeyPatch, *numbers: int, before: bool) -> list[int]:
    """Let the metric batches of these numbers fail, before they are stored or only their answer."""
    send, calls = MlflowClient.log_batch, list[int]()

    def log_batch(self: MlflowClient, run: str, metrics: Any = (), **others: Any) -> None:
        if not metrics:
            return send(self, run, metrics=metrics, **others)
        calls.append(len(calls))
        if not (before and calls[-1] in numbers):
            send(self, run, metrics=metrics, **others)
        if calls[-1] in numbers:
            raise MlflowException("connection reset")  # an internal error, which may pass

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    return calls


@pytest.mark.parametrize("before", [True, False], ids=["batch lost", "answer lost"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_batch_that_failed_arrives_once(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch, before: bool, number: int
) -> None:
    spool.log([record(step, 499) for step in range(6)])  # two steps a call
    failing_calls(monkeypatch, number, before=before)
    delivery = Delivery(store, spool.path)
    with pytest.raises(AwayError, match="connection reset"):
        delivery.advance()
    delivery.advance()
    for key in (MARKER, "reward/m0", "reward/m498"):
        assert [step for step, _ in logged(store, delivery, key)] == list(range(6))


def test_a_run_that_was_created_and_nothing_more_is_taken_up(
    store: Store, spool: Spool, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = MlflowClient.create_run

    def lose_the_answer(self: MlflowClient, *arguments: Any, **named: Any) -> None:
        monkeypatch.undo()
        create(self, *arguments, **named)
        raise MlflowException("connection reset")

    monkeypatch.setattr(MlflowClient, "create_run", lose_the_answer)
    delivery = Delivery(store, spool.path)
    with pytest.raises(AwayError):
        delivery.advance()
    delivery.advance()
    [run] = store.runs(store.create_experiment("study"), f"tags.`workbench.run` = '{fingerprint}'")
    assert run.info.run_id == delivery.run_id
    assert run.data.params["arm"] == "vanilla"


def test_nan_is_stored_as_nan(store: Store, spool: Spool) -> None:
    spool.log([(0, {"reward/gap": math.nan, MARKER: 1.0})])
    [(_, value)] = logged(store, delivered(store, spool), "reward/gap")
    assert math.isnan(value)


def test_the_marker_is_the_last_point_of_a_step() -> None:
    assert [point.key for point in points({MARKER: 0.0, "b": 1.0, "a": 2.0}, 7, 3)] == ["b", "a", MARKER]


def test_parcels_keep_the_order_and_name_where_they_end() -> None:
    def step(metrics: int) -> dict[str, Any]:
        return {"kind": "step", "metrics": dict.fromkeys(map(str, range(metrics)), 0.0)}

    text = {"kind": "text"}
    entries = [text, step(400), step(600), step(1), text, text, step(1500), step(1)]
    grouped = list(parcels((entry, number) for number, entry in enumerate(entries)))
    assert [end for _, end in grouped] == [0, 2, 3, 4, 5, 6, 7]
    assert [entry for group, _ in grouped for entry in group] == entries


def test_the_thread_delivers_while_more_is_written(store: Store, spool: Spool) -> None:
    with uploading(store, spool) as uploader:
        for step in range(20):
            spool.log([record(step)])
        end(spool, outcome="ok")
        assert uploader.finish(lambda: PATIENT)
    assert logged(store, uploader.delivery) == [(step, float(step)) for step in range(20)]


def test_a_refusal_is_said_once_and_ends_the_thread(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MlflowException("no more runs", error_code=BAD_REQUEST)

    monkeypatch.setattr(MlflowClient, "create_run", refuse)
    with uploading(store, spool) as uploader:
        uploader._thread.join(PATIENT)
        spool.log([record(0)])
        assert not uploader.finish(lambda: PATIENT)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "refused: no more runs; nothing is lost: the run's spool is kept, and `workbench" in told


def test_a_spool_from_another_version_is_said_once(
    store: Store, spool: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    spool.path.write_text('{"kind": "open"}\n')
    with uploading(store, spool) as uploader:
        assert not uploader.finish(lambda: PATIENT)
    assert "KeyError: 'name'; nothing is lost" in capsys.readouterr().err


def test_a_store_that_stays_away_is_given_up_after_its_patience(
    store: Store, spool: Spool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MlflowException("connection refused")

    monkeypatch.setattr(MlflowClient, "create_run", fail)
    with uploading(store, spool) as uploader:
        assert not uploader.finish(lambda: 0.0 if uploader._away else PATIENT)
        uploader._thread.join(PATIENT)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "does not answer: connection refused; nothing is lost: the run's spool is kept" in told


def test_a_spool_is_held_until_nothing_more_of_it_can_be_sent(
    store: Store, folder: Path, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked, go_on = threading.Event(), threading.Event()

    def hang(self: Delivery) -> None:
        is_asked.set()
        go_on.wait(PATIENT)

    monkeypatch.setattr(Delivery, "advance", hang)
    with open_spool(folder, fingerprint) as spool, uploading(store, spool) as uploader:
        assert is_asked.wait(PATIENT)
        assert not uploader.finish(lambda: 0.0)
    with pytest.raises(LockedError), held_spool(folder):
        pass  # a sync now, beside a request that hangs, could create the run twice
    go_on.set()
    uploader._thread.join(PATIENT)
    with held_spool(folder):
        pass


def test_a_run_that_was_deleted_in_mlflow_is_a_refusal(store: Store, spool: Spool) -> None:
    delivery = delivered(store, spool)
    store.client.delete_run(delivery.run_id)
    spool.log([record(0)])
    with pytest.raises(TrackingError, match="deleted"):
        delivery.advance()
