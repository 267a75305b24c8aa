"""Faults for real, in a study each: no trial lost or twice, the same bits after, a clear message."""

import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablations.folder import StudyFolder, find_study
from ablations.launchers.base import make_job
from ablations.liveness import Stop
from ablations.opening import look_at_trials, open_trials
from ablations.processes import Process
from ablations.records import Status
from ablations.runner import ablate, begun, prepare_study
from ablations.storage import StorageError
from ablations.supervisor import StoppedError
from ablations.trials import Trials
from tests.ablations.databases import Disturbance, away, for_seconds, locked
from tests.ablations.disks import Disk, limited_files, small_disk
from tests.ablations.evidence import assert_undisturbed
from tests.ablations.forked import Forked, forked
from tests.ablations.killer import Remembering
from tests.ablations.toy import TOY, points, run_here, toy, toy_plan
from tests.mlflow_server import wait_for
from tests.postgres import new_database
from workbench import plugins
from workbench.tracking.store import default_store
from workbench.tracking.sync import sync
from workbench.training import Run

ELSEWHERE = replace(Process.this("elsewhere"), machine="another")


def statuses(home: Path) -> dict[str, Status]:
    folder = find_study(home, "toy")
    return {status.cell.name: status for status in look_at_trials(folder, folder.outline()).status()}


@contextmanager
def once_there_is(file: str, home: Path, act: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread as soon as some cell has a file; wait for it at the end of the block."""

    def wait_and_act() -> None:
        wait_for(lambda: list(home.glob(f"studies/toy/cells/*/{file}")), file)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield
    thread.join()


# The database of trials.


@pytest.mark.parametrize("seconds", [2.0, pytest.param(30.0, marks=pytest.mark.soak)])
@pytest.mark.parametrize("disturb", [locked, away])
def test_a_study_waits_for_a_database_that_is_locked_or_restarts(
    disturb: Disturbance, seconds: float, postgres: str, prepared: Path, undisturbed: Path
) -> None:
    database = new_database(postgres)

    def disturb_for_a_while() -> None:
        with for_seconds(disturb, database, seconds):
            pass

    with once_there_is("checkpoint-*", prepared, disturb_for_a_while):
        ablate(toy(), prepared, forked(storage=database))
    assert_undisturbed(prepared, undisturbed)


def test_a_worker_that_starts_waits_for_the_database(
    postgres: str, prepared: Path, undisturbed: Path
) -> None:
    database = new_database(postgres)
    with begun(toy(), prepared, forked(storage=database)) as (folder, plan, task):
        open_trials(folder, plan).enqueue("missing")
        prepare_study(folder, plan, task)
    with for_seconds(away, database, 2.0):
        worker = Forked().start("early", make_job(folder, plan))
    wait_for(lambda: worker.exit_status() is not None, "the worker's end")
    assert (worker.exit_status(), worker.log.read_text()) == (0, "")
    assert_undisturbed(prepared, undisturbed)


@pytest.mark.parametrize("disturb", [locked, away])
def test_nobody_is_taken_for_dead_who_could_not_be_heard(
    disturb: Disturbance, postgres: str, tmp_path: Path
) -> None:
    database, plan = new_database(postgres), toy_plan()
    outline = replace(plan.outline, storage=database, grace_seconds=0.5)
    trials = Trials(StudyFolder(tmp_path, "toy"), outline, plan.trial)
    trials.enqueue("missing")
    assert trials.claim(ELSEWHERE)
    trials.sweep()
    with for_seconds(disturb, database, 1.0):
        trials.sweep()
    assert trials.status()[0].state == "running"
    for _ in range(3):
        time.sleep(0.3)
        trials.sweep()
    assert trials.status()[0].state == "waiting"


# The disk.


@pytest.mark.parametrize("kind", [small_disk, limited_files])
@pytest.mark.parametrize("left", [100_000, 0])
def test_a_full_disk_stops_a_study_in_a_sentence_and_fails_no_trial(
    kind: Callable[[Path], AbstractContextManager[Disk]],
    left: int,
    tmp_path: Path,
    undisturbed: Path,
    empty_store: Path,
) -> None:
    home, launcher = tmp_path / "small", Remembering(Forked())
    home.mkdir()
    with kind(home) as disk:
        shutil.copy(empty_store, home)
        shutil.copytree(undisturbed / "prepared", home / "prepared")

        def fill() -> None:
            disk.fill(left, [worker.process.pid for worker in launcher.alive])

        with once_there_is("spool.jsonl", home, fill):
            with pytest.raises((StoppedError, StorageError), match=r"; make room|; is its disk full\?"):
                ablate(toy(), home, forked(launcher=launcher))
        disk.make_room()
        assert all(status.state != "failed" for status in statuses(home).values())
        ablate(toy(), home, forked())
        sync(home)  # as `workbench ablate` does
        assert_undisturbed(home, undisturbed)


# What a crash leaves behind.


@pytest.mark.parametrize("broken", ["newest", "all"])
def test_checkpoints_cut_short_and_half_a_policy_are_not_taken_for_whole(
    broken: str, prepared: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, iterate = Stop(), Run._iterate

    def stop_in_time(run: Run, k: int) -> dict[str, float]:
        stop.is_asked = run.recipe.name == "ppo_max" and k == 2
        return iterate(run, k)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_iterate", stop_in_time)
        run_here(toy(), prepared, stop)
    cell = StudyFolder(prepared, "toy").path / "cells" / "ppo_max-s0"
    older, newest = sorted(cell.glob("checkpoint-*"))
    for checkpoint in [newest] if broken == "newest" else [older, newest]:
        whole = checkpoint.read_bytes()
        checkpoint.write_bytes(whole[: len(whole) // 2])
    (cell / "checkpoint-000004.partial").write_bytes(whole[:1000])
    (cell / ".partial-policy-1").mkdir()
    (cell / ".partial-policy-1" / "config.json").write_text("{")
    run_here(toy(), prepared)
    assert_undisturbed(prepared, undisturbed)


# Runs that go wrong.


@pytest.fixture(scope="module")
def mishaps(
    undisturbed: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Home folder of the toy study with three more arms, each of which goes wrong in its own way."""
    home, before = tmp_path_factory.mktemp("mishaps"), dict(plugins._files)
    shutil.copy(empty_store, home)
    shutil.copytree(undisturbed / "prepared", home / "prepared")
    names = ("not_a_number", "out_of_memory", "killed_for_memory")
    arms = TOY["arms"] | {name: {"recipe": "vanilla", "with": {name: True}} for name in names}
    plugin = Path(__file__).with_name("mishaps.py")
    ablate(toy(plugins=[str(plugin)], arms=arms), home, forked())
    yield home
    plugins._files.clear()
    plugins._files.update(before)


def test_arms_that_go_wrong_leave_the_others_as_they_are(mishaps: Path, undisturbed: Path) -> None:
    sound = [point for point in points(mishaps) if point[0].startswith(tuple(TOY["arms"]))]
    assert sound == points(undisturbed)


def test_nan_in_a_loss_ends_the_run_as_collapsed(mishaps: Path) -> None:
    status = statuses(mishaps)["not_a_number/s0"]
    assert (status.state, status.iteration, status.error) == ("collapsed", 4, None)
    assert status.value is not None and math.isfinite(status.value)
    [run] = runs(mishaps, "not_a_number/s0")
    assert run.data.tags["outcome"] == "collapsed"
    assert "finite" in run.data.tags["collapse_reason"]


def test_a_trial_that_does_not_fit_into_memory_fails_and_says_so(mishaps: Path) -> None:
    status = statuses(mishaps)["out_of_memory/s0"]
    assert (status.state, status.iteration) == ("failed", 2)
    assert status.error and "can't allocate memory: you tried to allocate" in status.error
    [run] = runs(mishaps, "out_of_memory/s0")
    assert (run.data.tags["outcome"], run.data.tags["error"]) == ("failed", status.error)


def test_a_trial_that_the_kernel_kills_each_time_fails_and_says_so(mishaps: Path) -> None:
    status = statuses(mishaps)["killed_for_memory/s0"]
    assert (status.state, status.iteration) == ("failed", 2)
    assert status.error == "its process died 3 times at iteration 2; was memory short?"


def runs(home: Path, name: str) -> list[Any]:
    store = default_store(home)
    return [run for run in store.runs(store.create_experiment("toy")) if run.info.run_name == name]
