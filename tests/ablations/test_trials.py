"""Trials in Optuna: enqueued once, claimed by one, refused if invented, taken back from the dead."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from ablations.folder import StudyFolder, make_plan
from ablations.locks import JournalLock, held, is_held, try_to_hold
from ablations.trials import Trials
from tests.ablations.toy import toy


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    plan = make_plan(toy(), tracking_uri=None, device="cpu", threads=1, command="")
    return Trials(StudyFolder(tmp_path, "toy"), plan)


def states(trials: Trials) -> list[str]:
    return [status.state for status in trials.status()]


def test_enqueueing_twice_enqueues_once(trials: Trials) -> None:
    trials.enqueue("missing")
    trials.enqueue("missing")
    assert len(trials._study.trials) == 4


def test_every_claim_is_of_another_cell_in_the_order_of_the_design(trials: Trials) -> None:
    trials.enqueue("missing")
    claims = [claim for claim in iter(trials.claim, None) if claim]
    assert [claim.cell.name for claim in claims] == list(trials.plan.cells)
    assert states(trials) == ["running"] * 4


def test_a_trial_that_the_sampler_invents_is_refused(trials: Trials) -> None:
    trials._study.enqueue_trial({"seed": 3})  # no cell of the design
    assert trials.claim() is None
    [trial] = trials._study.trials
    assert trial.state == TrialState.FAIL
    assert "refused" in trial.user_attrs
    assert states(trials) == ["missing"] * 4


def test_nothing_is_claimed_from_an_empty_queue(trials: Trials) -> None:
    assert trials.claim() is None
    assert trials._study.trials == []


def test_a_sweep_puts_back_cells_whose_process_is_gone_and_no_others(trials: Trials) -> None:
    trials.enqueue("missing")
    lost, living = trials.claim(), trials.claim()
    assert lost is not None
    assert living is not None
    lost.lock.close()  # as the kernel does when a process dies
    assert states(trials) == ["stopped", "running", "waiting", "waiting"]
    trials.sweep()
    assert states(trials) == ["waiting", "running", "waiting", "waiting"]
    assert len(trials._study.trials) == 5


def test_a_sweep_fails_a_cell_by_verdict(trials: Trials) -> None:
    trials.enqueue("missing")
    lost = trials.claim()
    assert lost is not None
    lost.lock.close()
    trials.sweep(lambda cell: "it died too often")
    assert trials.status()[0].error == "it died too often"
    assert states(trials)[0] == "failed"


def test_a_completed_cell_stays_done_whatever_is_enqueued_after_it(trials: Trials) -> None:
    trials.enqueue("missing")
    claim = trials.claim()
    assert claim is not None
    trials.complete(claim, 1.5, {"run_id": "r", "outcome": "collapsed"})
    assert trials.status()[0].value == 1.5
    assert states(trials)[0] == "collapsed"
    trials.enqueue("missing", "failed")
    assert len(trials._study.trials) == 4


def test_a_journal_cut_short_is_repaired_before_the_next_line(trials: Trials, tmp_path: Path) -> None:
    trials.enqueue("missing")
    journal = trials.folder.journal
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')  # a full disk, or power lost
    reopened = Trials(trials.folder, trials.plan)
    assert reopened.claim() is not None
    assert journal.read_bytes().startswith(whole + b"{")
    assert len(Trials(trials.folder, trials.plan)._study.trials) == 4


def test_a_lock_is_free_when_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    file = try_to_hold(path)
    assert file is not None
    assert is_held(path)
    assert try_to_hold(path) is None
    file.close()
    assert not is_held(path)
    with held(path):
        assert is_held(path)


def test_a_journal_lock_lets_go(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    journal.touch()
    lock = JournalLock(journal)
    lock.acquire()
    assert is_held(tmp_path / "journal.lock")
    lock.release()
    assert not is_held(tmp_path / "journal.lock")
