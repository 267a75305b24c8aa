"""A worker that is started by hand: it needs no `ablate` before it, and says if it left cells behind."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from ablations.folder import StudyFolder, find_study
from ablations.joining import INTERRUPTED, _accompany, join
from ablations.liveness import Stop
from ablations.runner import prepare_only
from ablations.trials import Trials
from tests.ablations.toy import OPTIONS, points, toy


@pytest.fixture
def folder(prepared: Path) -> StudyFolder:
    prepare_only(toy(), prepared, OPTIONS)
    return find_study(prepared, "toy")


def states(folder: StudyFolder) -> list[str]:
    return [status.state for status in Trials(folder, folder.outline()).status()]


def test_a_worker_that_joins_a_prepared_study_trains_all_of_it(
    folder: StudyFolder, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "listen", lambda self, parent: None)
    assert join(folder) == 0
    assert states(folder) == ["ok"] * 4
    assert points(folder.home) == points(undisturbed)


def test_a_worker_that_was_asked_to_stop_says_so_by_its_exit_status(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "listen", lambda self, parent: setattr(self, "is_asked", True))
    assert join(folder) == INTERRUPTED
    assert states(folder) == ["missing"] * 4


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.joining.time.sleep", lambda seconds: None)


@pytest.mark.usefixtures("no_time")
def test_processes_of_a_worker_are_asked_to_stop_once() -> None:
    worker = Mock()
    worker.exit_status.side_effect = [None, None, None, 0]
    assert _accompany(worker, Stop(is_asked=True)) == 0
    worker.ask_to_stop.assert_called_once()


@pytest.mark.usefixtures("no_time")
@pytest.mark.parametrize(("ended", "status"), [(3, 3), (-9, 137)])
def test_processes_that_fail_have_their_last_words_repeated(
    ended: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Mock()
    worker.exit_status.side_effect = [None, ended]
    worker.last_words.return_value = "the disk is full"
    assert _accompany(worker, Stop()) == status
    assert capsys.readouterr().err == "the disk is full\n"
    worker.ask_to_stop.assert_not_called()
