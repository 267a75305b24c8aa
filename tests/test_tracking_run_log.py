"""A tracked run from start to end: taken up again, moved to another machine, failed, out of disk."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.tracked_runs import (
    LONG,
    Point,
    before_iteration,
    expected_points,
    make_log,
    stored_points,
    stored_steps,
)
from workbench.checkpoint import CheckpointError
from workbench.stages.prepare import Prepared
from workbench.tracking.run_log import RunLog
from workbench.tracking.spool import NAME, Spool, read
from workbench.tracking.store import Store
from workbench.tracking.sync import sync
from workbench.training import Interrupted


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is asked to stop delivers what it has, however slow the machine is."""
    monkeypatch.setattr("workbench.tracking.run_log.HURRY_SECONDS", 300.0)


@pytest.fixture
def store(study_store: Store) -> Store:
    return study_store


@pytest.fixture(scope="module")
def expected(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Counter[Point]:
    return expected_points(prepared, tmp_path_factory.mktemp("undisturbed") / "run")


def interrupt(log: RunLog, iterations: int) -> None:
    """Train, and ask the run to stop after some iterations."""
    asked = iter([*[False] * (iterations - 1), *[True] * 1000])
    with pytest.raises(Interrupted):
        log.train(lambda: next(asked))


def written_steps(folder: Path) -> list[int]:
    return [entry["step"] for entry, _ in read(folder / NAME) if entry["kind"] == "step"]


def test_a_run_leaves_its_points_and_no_spool(
    prepared: Prepared, folder: Path, store: Store, expected: Counter[Point]
) -> None:
    log = make_log(prepared, folder, store)
    run_id, result = log.train()
    assert stored_points(store, run_id) == expected
    assert result.final.items() <= store.client.get_run(run_id).data.metrics.items()
    assert not (folder / NAME).exists()
    assert sync(folder) == []


def test_an_interrupted_run_delivers_what_it_has_and_stays_running(
    prepared: Prepared, folder: Path, store: Store, expected: Counter[Point]
) -> None:
    log = make_log(prepared, folder, store)
    interrupt(log, 4)
    [run] = store.runs(store.create_experiment("study"))
    assert (run.info.status, run.data.tags["outcome"]) == ("RUNNING", "running")
    assert stored_steps(store, log.run.fingerprint) == 4
    assert [upload.state for upload in sync(folder)] == ["unfinished"]
    run_id, _ = make_log(prepared, folder, store).train()
    assert run_id == run.info.run_id
    assert stored_points(store, run_id) == expected


def test_a_run_taken_up_with_settings_that_decide_nothing_arrives_whole(
    prepared: Prepared, folder: Path, store: Store
) -> None:
    interrupt(make_log(prepared, folder, store), 4)
    again = make_log(prepared, folder, store)
    again.run.settings = LONG.model_copy(update={"checkpoint_every": 2, "micro_batch_size": 2})
    run_id, result = again.train()
    run = store.client.get_run(run_id)
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "ok")
    assert stored_steps(store, again.run.fingerprint) == len(result.history)
    assert run.data.params["ppo.checkpoint_every"] == "3"
    assert not {name for name in run.data.params if "micro" in name}


def test_iterations_done_again_after_a_crash_are_not_written_again(
    prepared: Prepared,
    folder: Path,
    store: Store,
    expected: Counter[Point],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        """Stands for SIGKILL: nothing catches it."""

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patched:
        log = make_log(prepared, folder, store)
        before_iteration(patched, log.run, {5: die})  # the last checkpoint is that of iteration 3
        with pytest.raises(Killed):
            log.train()
    before = (folder / NAME).read_bytes()
    assert [entry["step"] for entry, _ in read(folder / NAME) if entry["kind"] == "step"] == [
        0,
        1,
        2,
        3,
        4,
    ]

    monkeypatch.setattr(Path, "unlink", lambda path: None)
    run_id, _ = make_log(prepared, folder, store).train()
    assert (folder / NAME).read_bytes().startswith(before)
    assert written_steps(folder) == list(range(LONG.iterations + 1))
    assert stored_points(store, run_id) == expected


@pytest.mark.parametrize("is_delivered", [True, False])
def test_a_run_that_goes_on_without_its_spool_rebuilds_it_from_the_checkpoint(
    prepared: Prepared, folder: Path, store: Store, expected: Counter[Point], is_delivered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with monkeypatch.context() as patched:
        if not is_delivered:
            patched.setattr("workbench.tracking.delivery.Delivery.advance", lambda self: None)
        interrupt(make_log(prepared, folder, store), 4)
    elsewhere = Path(shutil.copytree(folder, folder.with_name("elsewhere")))
    (elsewhere / NAME).unlink()
    run_id, _ = make_log(prepared, elsewhere, store).train()
    assert stored_points(store, run_id) == expected

    late, _ = make_log(prepared, folder, store).train()  # the first machine is back, and trains on
    assert late == run_id
    assert stored_points(store, run_id) == expected
    assert store.client.get_run(run_id).info.status == "FINISHED"


def test_a_failed_run_keeps_outcome_and_traceback(
    prepared: Prepared, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise MemoryError("out of memory")

    log = make_log(prepared, folder, store)
    before_iteration(monkeypatch, log.run, {2: fail})
    with pytest.raises(MemoryError):
        log.train()
    [run] = store.runs(store.create_experiment("study"))
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "failed")
    assert run.data.tags["error"] == "MemoryError: out of memory"
    trace = store.client.download_artifacts(run.info.run_id, "error.txt")
    assert "in fail" in Path(trace).read_text()
    assert not (folder / NAME).exists()


def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(
    prepared: Prepared,
    folder: Path,
    store: Store,
    expected: Counter[Point],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = Spool.write

    def full(self: Spool, kind: str, content: dict[str, object]) -> None:
        if content.get("step") == 4:
            raise CheckpointError("cannot write the spool")
        write(self, kind, content)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "write", full)
        with pytest.raises(CheckpointError, match="cannot write the spool"):
            make_log(prepared, folder, store).train()
    [run] = store.runs(store.create_experiment("study"))
    assert run.info.status == "RUNNING"
    run_id, _ = make_log(prepared, folder, store).train()
    assert stored_points(store, run_id) == expected
