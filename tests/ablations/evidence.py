"""What a study left behind, held against what the undisturbed one left: trials, metrics, files."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from optuna.trial import TrialState

from ablations.folder import StudyFolder, find_study
from ablations.trials import Trials
from tests.ablations.toy import points, run_names

HIDDEN = ".artifact.uploading."


def assert_undisturbed(home: Path, undisturbed: Path, name: str = "toy") -> None:
    """Hold a study that was disturbed to the one that was not: no trial lost or twice, the same bits.

    Args:
        home: home folder of the study; its MLflow store is the home's own database.
        undisturbed: home folder of the other.
        name: of both.
    """
    ours, theirs = find_study(home, name), find_study(undisturbed, name)
    assert_one_trial_each(ours)
    assert values(ours) == values(theirs)
    assert run_names(home) == run_names(undisturbed)
    assert points(home) == points(undisturbed)
    assert artifacts(home) == artifacts(undisturbed)
    assert files(ours) == files(theirs)


def assert_one_trial_each(folder: StudyFolder) -> None:
    """Every cell of the design has one completed trial, and no trial waits or runs."""
    trials = Trials(folder, folder.outline())
    states = Counter(trial.state for trial in trials.study.trials)
    assert not states[TrialState.WAITING] and not states[TrialState.RUNNING], states
    done = trials.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    assert Counter(trial.user_attrs["cell"] for trial in done) == Counter(list(trials.outline.cells))


def values(folder: StudyFolder) -> dict[str, float | None]:
    """Return each cell's final value, as Optuna has it."""
    return {status.cell.name: status.value for status in Trials(folder, folder.outline()).status()}


def artifacts(home: Path) -> dict[tuple[str, str], bytes]:
    """Return every artifact in MLflow by run name and path, but for those of errors.

    MLflow writes an artifact under a hidden name first, which stays if the process is killed then.
    """
    query = "SELECT name, artifact_uri FROM runs"
    with closing(sqlite3.connect(home / "mlflow.db")) as db:
        folders = [(name, Path(unquote(urlsplit(uri).path))) for name, uri in db.execute(query)]
    return {
        (name, str(file.relative_to(folder))): file.read_bytes()
        for name, folder in folders
        for file in folder.rglob("*")
        if file.is_file() and file.name != "error.txt" and not file.name.startswith(HIDDEN)
    }


def files(folder: StudyFolder) -> dict[str, bytes]:
    """Return every file that the cells left, but for locks: the policies, and nothing half-written."""
    cells = folder.path / "cells"
    kept = [path for path in cells.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(cells)): path.read_bytes() for path in kept}
