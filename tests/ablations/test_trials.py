"""Trials in Optuna: claimed by one, counted once, taken back from the dead, on every storage."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import TrialState

from ablations import processes
from ablations.beats import Beat, Listener
from ablations.folder import StudyFolder
from ablations.journal_lock import JournalLock
from ablations.processes import Process
from ablations.records import Outcome
from ablations.storage import open_storage, serve
from ablations.trials import AHEAD, Trials
from tests.ablations.databases import let_fail
from tests.ablations.toy import gone, toy_plan
from tests.ports import free_port
from tests.postgres import new_database
from workbench.locks import held, try_to_hold

ME = Process.this("me")
ELSEWHERE = replace(ME, machine="another", name="elsewhere")


def open_trials(home: Path, grace: float = 60.0, storage: str | None = None, **changes: Any) -> Trials:
    plan = toy_plan(**changes)
    outline = replace(plan.outline, grace_seconds=grace, storage=storage)
    return Trials(StudyFolder(home, "toy"), outline, plan.trial)


@pytest.fixture
def proxy(postgres: str) -> str:
    """Optuna's gRPC proxy in front of a new database; the thread ends with the tests."""
    port = free_port()
    place = (open_storage(new_database(postgres), Path()), "127.0.0.1", port)
    threading.Thread(target=serve, args=place, daemon=True).start()
    return f"grpc://127.0.0.1:{port}"


@pytest.fixture(params=["journal", "postgresql", "grpc"])
def storage(request: pytest.FixtureRequest) -> str | None:
    """Address of each kind of storage."""
    if request.param == "journal":
        return None
    if request.param == "grpc":
        return str(request.getfixturevalue("proxy"))
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def trials(tmp_path: Path, storage: str | None) -> Trials:
    return open_trials(tmp_path, storage=storage)


def ok(gold: float) -> Outcome:
    return Outcome("ok", {"final/gold": gold, "final/win_rate": 0.5}, None, 4)


def states(trials: Trials) -> list[str]:
    return [status.state for status in trials.status()]


def test_enqueueing_twice_enqueues_once(trials: Trials) -> None:
    assert trials.enqueue("missing") == 4
    assert trials.enqueue("missing") == 0
    assert len(trials.study.trials) == 4


def test_no_more_cells_wait_than_a_look_at_the_queue_can_afford(tmp_path: Path) -> None:
    trials = open_trials(tmp_path, seeds=AHEAD)
    assert trials.enqueue("missing") == AHEAD
    assert trials.claim(ME) is not None
    assert trials.enqueue("missing") == 1


def test_every_claim_is_of_another_cell_in_the_order_of_the_design(trials: Trials) -> None:
    trials.enqueue("missing")
    claims = [claim for claim in iter(lambda: trials.claim(ME), None) if claim]
    assert [claim.cell.name for claim in claims] == list(trials.outline.cells)
    assert states(trials) == ["running"] * 4
    assert {status.worker for status in trials.status()} == {"me"}


def test_a_trial_of_a_cell_that_this_process_does_not_know_is_left_alone(trials: Trials) -> None:
    trials.study.enqueue_trial({"seed": 3}, user_attrs={"cell": "new_arm/s3"})
    assert trials.claim(ME) is None
    assert trials.study.trials[0].state == TrialState.WAITING
    assert states(trials) == ["missing"] * 4


def test_nothing_is_claimed_from_an_empty_queue_and_no_trial_is_invented(trials: Trials) -> None:
    assert trials.claim(ME) is None
    assert trials.study.trials == []


def test_whoever_claims_waits_for_the_storage_while_it_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = open_trials(tmp_path)
    let_fail(trials.storage, monkeypatch)
    trials.enqueue("missing")
    while claim := trials.claim(ME):
        trials.record(claim, ok(1.0))
    assert states(trials) == ["ok"] * 4


@pytest.mark.parametrize("first", ["waiting", "running", "done"])
def test_of_two_trials_of_one_cell_the_first_counts(trials: Trials, first: str) -> None:
    cell = trials.outline.cells["vanilla/s0"]
    trials._enqueue(cell)
    if first != "waiting":
        claim = trials.claim(ME)
        assert claim is not None
        if first == "done":
            trials.record(claim, ok(1.0))
    trials._enqueue(cell)  # as a second process does that looked at the same moment
    doubled = trials.study.trials[1]
    assert trials._take(doubled, ELSEWHERE) is None
    refused = trials.study.trials[1]
    assert refused.state == TrialState.FAIL
    assert refused.user_attrs["refused"] == "trial 0 is of the same cell"
    expected = {"waiting": "waiting", "running": "running", "done": "ok"}
    assert states(trials)[0] == expected[first]


def test_a_sweep_puts_back_cells_whose_process_is_gone_and_no_others(trials: Trials) -> None:
    trials.enqueue("missing")
    assert trials.claim(gone()) is not None
    assert trials.claim(ME) is not None
    assert states(trials) == ["stopped", "running", "waiting", "waiting"]
    trials.sweep()
    assert states(trials) == ["waiting", "running", "waiting", "waiting"]
    assert len(trials.study.trials) == 5


def test_a_worker_elsewhere_is_taken_for_dead_only_when_nothing_new_is_heard(
    tmp_path: Path, storage: str | None
) -> None:
    trials = open_trials(tmp_path, 0.2, storage)
    trials.enqueue("missing")
    claim = trials.claim(ELSEWHERE)
    assert claim is not None
    trials.sweep()
    assert states(trials)[0] == "running"
    time.sleep(0.25)
    trials.beat(claim, 1)
    trials.sweep()
    assert trials.status()[0].iteration == 1
    assert not claim.is_lost
    for _ in range(3):
        time.sleep(0.15)
        trials.sweep()
    assert states(trials)[0] == "stopped"  # in the queue again, with what it has done


def test_a_worker_that_was_taken_for_dead_notices_and_neither_ends_nor_doubles_the_trial(
    trials: Trials,
) -> None:
    trials.enqueue("missing")
    claim = trials.claim(gone())
    assert claim is not None
    trials.sweep()
    trials.beat(claim, 3)
    assert claim.is_lost
    trials.give_back(claim)
    trials.record(claim, ok(9.0))
    assert states(trials) == ["waiting"] * 4
    assert len(trials.study.trials) == 5


def test_two_sweeps_at_once_put_a_cell_back_once(tmp_path: Path, storage: str | None) -> None:
    trials = open_trials(tmp_path, storage=storage)
    trials.enqueue("missing")
    assert trials.claim(gone()) is not None
    other = open_trials(tmp_path, storage=storage)
    [lost] = other._trials(TrialState.RUNNING)
    trials.sweep()
    other._bury(lost)  # it had looked before the first one acted
    assert len(trials.study.trials) == 5


def test_a_cell_that_kills_its_process_without_getting_further_fails(trials: Trials) -> None:
    for _ in range(3):
        trials.enqueue("missing")
        claim = next(c for c in iter(lambda: trials.claim(gone()), None) if c)
        while claim.cell.name != "vanilla/s0":
            trials.record(claim, ok(0.0))
            claim = next(c for c in iter(lambda: trials.claim(gone()), None) if c)
        trials.sweep()
    assert states(trials)[0] == "failed"
    assert trials.status()[0].error == "its process died 3 times at iteration 0; was memory short?"


def test_a_cell_that_gets_further_each_time_may_die_often(trials: Trials) -> None:
    trials.enqueue("missing")
    others = [trials.claim(ME) for _ in range(4)]
    first = others[0]
    assert first is not None
    trials.give_back(first)
    for done in range(1, 6):
        claim = trials.claim(gone())
        assert claim is not None
        trials.beat(claim, done)
        trials.sweep()
    assert trials.status()[0].state == "stopped"
    assert trials.status()[0].iteration == 5


def test_a_failed_cell_is_tried_again_as_often_as_the_study_says(tmp_path: Path) -> None:
    trials = open_trials(tmp_path)
    trials.outline = replace(trials.outline, retries=2)
    trials.enqueue("missing")
    seen = []
    while claim := trials.claim(ME):
        seen.append(claim.cell.name)
        if claim.cell.name == "vanilla/s0":
            trials.fail(claim, "out of memory")
        else:
            trials.record(claim, ok(0.0))
    assert seen.count("vanilla/s0") == 3
    assert trials.status()[0].error == "out of memory"
    assert states(trials) == ["failed", "ok", "ok", "ok"]


def test_a_completed_cell_stays_done_whatever_is_enqueued_after_it(trials: Trials) -> None:
    trials.enqueue("missing")
    claim = trials.claim(ME)
    assert claim is not None
    trials.record(claim, Outcome("collapsed", {"final/gold": 1.5, "final/win_rate": 0.0}, "r", 4))
    assert trials.status()[0].value == 1.5
    assert states(trials)[0] == "collapsed"
    trials.enqueue("missing", "failed")
    assert len(trials.study.trials) == 4


@pytest.fixture
def is_silent(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, int], bool]:
    """Let a listener with ten seconds of grace listen after so many seconds, and hear a beat's count."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    listener = Listener(grace_seconds=10)

    def after(seconds: float, count: int) -> bool:
        nonlocal now
        now += seconds
        listener.listen()
        return listener.is_silent(1, Beat(count=count))

    return after


def test_silence_begins_when_the_listener_last_heard_something_new(
    is_silent: Callable[[float, int], bool],
) -> None:
    assert not is_silent(0, 1)
    assert not is_silent(4, 1)
    assert not is_silent(4, 2)
    assert [is_silent(4, 2) for _ in range(3)] == [False, False, True]
    assert not is_silent(4, 3)


def test_a_time_in_which_nobody_could_be_heard_counts_as_half_the_grace(
    is_silent: Callable[[float, int], bool],
) -> None:
    assert not is_silent(0, 1)
    assert not is_silent(1000, 1)
    assert [is_silent(4, 1) for _ in range(2)] == [False, True]


def test_a_process_is_told_from_a_later_one_of_the_same_number() -> None:
    assert not ME.is_gone
    assert replace(ME, started=ME.started - 5).is_gone
    assert replace(ME, pid=2**22 + 1).is_gone
    assert not replace(ME, pid=2**22 + 1, machine="another").is_gone
    assert Process.of(ME.facts()) == ME


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen(["sleep", "60"])
    own = replace(ME, pid=child.pid, started=processes._ticks(child.pid))
    by_the_clock = replace(own, started=processes._seconds(child.pid))
    assert not own.is_gone and not by_the_clock.is_gone
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not yet reaped
    assert own.is_gone and by_the_clock.is_gone
    child.wait()
    assert own.is_gone and by_the_clock.is_gone


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let all processes seem to have started so many seconds later, as after a change of the clock."""
    create_time = psutil.Process.create_time

    def by(seconds: float) -> None:
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + seconds)

    return by


@pytest.mark.parametrize("step", [-3600.0, -0.02, 1.0])
def test_a_process_stays_alive_when_the_clock_is_set(
    set_clock: Callable[[float], None], step: float
) -> None:
    stored = Process.of(json.loads(json.dumps(ME.facts())))
    set_clock(step)
    assert Process.this("me") == stored == ME
    assert not stored.is_gone


def test_a_process_that_an_older_version_wrote_down_by_the_clock_is_judged_by_it(
    set_clock: Callable[[float], None],
) -> None:
    older = replace(ME, started=round(psutil.Process().create_time(), 2))
    assert not older.is_gone
    assert replace(older, started=older.started - 5).is_gone
    assert replace(older, pid=2**22 + 1).is_gone
    set_clock(1.0)  # as the kernel does now and then, when it rounds the time of the boot
    assert not older.is_gone


def test_a_process_is_known_by_the_clock_where_the_boot_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "BOOT", tmp_path / "none")
    me = Process.this("me")
    assert me.started == psutil.Process().create_time()
    assert not me.is_gone


def test_a_journal_cut_short_is_repaired_before_the_next_line(tmp_path: Path) -> None:
    trials = open_trials(tmp_path)
    trials.enqueue("missing")
    journal = trials.folder.journal
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')  # a full disk, or power lost
    reopened = open_trials(tmp_path)
    assert reopened.claim(ME) is not None
    assert journal.read_bytes().startswith(whole + b"{")
    assert len(open_trials(tmp_path).study.trials) == 4


def is_free(path: Path) -> bool:
    file = try_to_hold(path)
    if file:
        file.close()
    return file is not None


def test_a_lock_is_free_when_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    file = try_to_hold(path)
    assert file is not None
    assert not is_free(path)
    file.close()
    assert is_free(path)
    with held(path):
        assert not is_free(path)
    assert is_free(path)


def test_a_journal_lock_lets_go(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    journal.touch()
    lock = JournalLock(journal)
    lock.acquire()
    assert not is_free(tmp_path / "journal.lock")
    lock.release()
    assert is_free(tmp_path / "journal.lock")
