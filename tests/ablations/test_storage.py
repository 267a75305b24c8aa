"""Storages of trials: what is refused, what may pass, joining from a host without the folder."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.distributions import distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages.journal import _storage
from sqlalchemy.exc import DataError, OperationalError

from ablations import joining
from ablations.folder import StudyFolder, find_study
from ablations.joining import OtherModelsError, join, reach
from ablations.liveness import Stop
from ablations.opening import look_at_trials
from ablations.plan import ChangedStudyError, agree, compare
from ablations.runner import Options, ablate, begun, prepare_only, prepare_study
from ablations.storage import StorageError, is_passing, masked, open_storage, patiently
from ablations.trials import Trials
from tests.ablations.toy import toy, toy_plan
from tests.ports import free_port
from tests.postgres import new_database


def test_sqlite_is_refused_for_several_workers_with_the_reason(new_home: Path) -> None:
    options = Options(workers=2, storage=f"sqlite:///{new_home / 'trials.db'}")
    with pytest.raises(ValueError, match="a SQLite storage gives one trial to two workers at times"):
        ablate(toy(), new_home, options)
    assert not StudyFolder(new_home, "toy").file.exists()


def test_a_study_begun_in_sqlite_is_refused_more_workers_when_it_goes_on(new_home: Path) -> None:
    with begun(toy(), new_home, Options(workers=1, storage=f"sqlite:///{new_home / 'trials.db'}")):
        pass
    with begun(toy(), new_home, Options(workers=1)) as (_, plan, _):
        assert plan.storage
    with pytest.raises(ValueError, match="a SQLite storage gives one trial to two workers at times"):
        with begun(toy(), new_home, Options(workers=4)):
            pass


def test_one_worker_may_use_sqlite_and_nobody_joins_it(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(workers=1, storage=f"sqlite:///{prepared / 'trials.db'}")
    with begun(toy(), prepared, options) as (folder, plan, task):
        prepare_study(folder, plan, task)
    monkeypatch.setattr(Stop, "listen", lambda self, parent: None)
    with pytest.raises(ValueError, match="SQLite"):
        join(folder)


@pytest.mark.parametrize("uri", ["mysql://lab@db/optuna", "nonsense", "grpc://host"])
def test_an_address_that_is_none_is_refused_without_its_password(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--storage must be"):
        open_storage(uri, tmp_path / "journal.log")


def test_a_database_that_does_not_answer_is_said_in_a_sentence(tmp_path: Path) -> None:
    uri = f"postgresql://lab:secret@127.0.0.1:{free_port()}/optuna"
    with pytest.raises(StorageError, match="cannot open the storage") as error:
        open_storage(uri, tmp_path / "journal.log")
    assert "secret" not in str(error.value)
    assert masked(uri).startswith("postgresql://lab:***@127.0.0.1")


def test_a_study_that_is_given_another_store_says_which_without_passwords(tmp_path: Path) -> None:
    folder, old = StudyFolder(tmp_path, "toy"), toy_plan()
    agree(folder, replace(old, storage="postgresql://lab:secret@here/db"))
    for given in ({"storage": "postgresql://lab:other@there/db"}, {"tracking_uri": "http://me:pw@x"}):
        with pytest.raises(ChangedStudyError) as refused:
            compare(folder, replace(old, **given))
        told = str(refused.value)
        assert re.search(r"(was postgresql://lab:\*\*\*@here/db|store was the default) and is now", told)
        assert not re.search("secret|other@|pw@", told)


def test_a_server_that_is_away_is_waited_for_and_bad_data_is_not() -> None:
    away = StorageInternalError("commit")
    away.__cause__ = OperationalError("select", {}, Exception("server closed the connection"))
    wrong = StorageInternalError("commit")
    wrong.__cause__ = DataError("insert", {}, Exception("too long"))
    assert is_passing(away)
    assert is_passing(OperationalError("select", {}, Exception("locked")))
    assert not is_passing(wrong)
    assert not is_passing(ValueError("no"))

    left = [away, away]

    def act() -> str:
        if left:
            raise left.pop()
        return "done"

    assert patiently(act) == "done"
    with pytest.raises(StorageError, match="did not answer for"):
        patiently(lambda: (_ for _ in ()).throw(away), patience_seconds=-1)


def test_a_host_without_the_folder_joins_by_the_storage_alone(
    prepared: Path, tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "listen", lambda self, parent: None)
    storage = new_database(postgres)
    options = Options(workers=1, storage=storage, tracking_uri=f"sqlite:///{prepared / 'mlflow.db'}")
    prepare_only(toy(seeds=1), prepared, options)
    there = reach(tmp_path / "elsewhere", "toy", storage)
    assert there.home == tmp_path / "elsewhere"
    assert join(there) == 0
    folder = find_study(prepared, "toy")
    statuses = look_at_trials(folder, folder.outline()).status()
    assert all(status.state in ("ok", "collapsed") for status in statuses)

    with pytest.raises(FileNotFoundError, match="did you mean 'toy'"):
        reach(tmp_path / "none", "toys", storage)


@pytest.fixture
def alone(prepared: Path) -> Options:
    """The toy study prepared by one host, and known to others by its storage alone."""
    options = Options(workers=1, storage=f"sqlite:///{prepared / 'trials.db'}")
    prepare_only(toy(), prepared, options)
    return options


@pytest.fixture
def elsewhere(undisturbed: Path, tmp_path: Path) -> Path:
    """A home folder on another host, which arrives at the same models."""
    shutil.copytree(undisturbed / "prepared", tmp_path / "elsewhere" / "prepared")
    return tmp_path / "elsewhere"


def test_a_first_start_that_was_broken_off_is_repeated(
    alone: Options, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(joining, "prepare_models", stop)
        reach(elsewhere, "toy", alone.storage)
    there = reach(elsewhere, "toy", alone.storage)
    assert there.outline().storage == alone.storage
    assert there.read_prepared()


def test_other_weights_are_refused_at_every_start(
    alone: Options, prepared: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(elsewhere, "toy", alone.storage)
    monkeypatch.setattr(joining, "weights_hash", lambda made: "others")
    for home in (elsewhere, prepared):
        with pytest.raises(OtherModelsError, match="this host prepares other weights"):
            reach(home, "toy", alone.storage)
        with pytest.raises(OtherModelsError, match="this host prepares other weights"):
            prepare_only(toy(), home, alone)
    find_study(elsewhere, "toy").file.unlink()
    for _ in range(2):
        with pytest.raises(OtherModelsError, match="this host prepares other weights"):
            reach(elsewhere, "toy", alone.storage)


def test_a_worker_is_refused_a_storage_that_is_not_the_study_s(new_home: Path) -> None:
    for name, own in (("toy", None), ("other", f"sqlite:///{new_home / 'trials.db'}")):
        with begun(toy(name=name), new_home, Options(workers=1, storage=own)):
            pass
    with pytest.raises(ChangedStudyError, match=r"a journal file, not in postgresql://lab:\*{3}@db/it;"):
        reach(new_home, "toy", "postgresql://lab:secret@db/it")
    with pytest.raises(
        ChangedStudyError, match=r"study other keeps its trials in sqlite:///.*trials\.db,"
    ):
        reach(new_home, "other", "postgresql://lab:secret@db/it")
    assert reach(new_home, "toy", None).name == "toy"


def test_a_journal_of_thousands_of_trials_reads_each_distribution_once(tmp_path: Path) -> None:
    plan = toy_plan()
    trials = Trials(StudyFolder(tmp_path, "toy"), plan.outline, plan.trial)
    trial = plan.trial(plan.outline.cells["ppo_max/s0"])
    trial.user_attrs = {"cell": "ppo_max/s0"}
    for _ in range(50):
        trials.storage.create_new_trial(trials._study_id, template_trial=trial)
    read = _storage.json_to_distribution
    read.cache_clear()
    look_at_trials(trials.folder, plan.outline)
    assert read.cache_info().misses == len(set(map(distribution_to_json, trial.distributions.values())))
    assert read.cache_info().hits > 50


def test_to_look_at_a_study_needs_no_torch() -> None:
    modules = "sys, ablations.opening, ablations.standings, workbench.cli"
    code = f"import {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
