"""The MLflow store: patience with one that is away, one sentence from one that refuses."""

import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.exceptions import BAD_REQUEST, RESOURCE_ALREADY_EXISTS, MlflowException

from tests.ports import free_port
from workbench.tracking.store import (
    PATIENCE_VARIABLE,
    AwayError,
    Store,
    TrackingError,
    default_store,
    sqlite_file,
)


def test_a_locked_database_is_waited_for(study_store: Store) -> None:
    file = sqlite_file(study_store.uri)
    assert file
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(1.0, other.execute, ["ROLLBACK"]).start()
        study_store.tag_experiment("study", {"question": "why?"})
    assert study_store.client.get_experiment_by_name("study").tags["question"] == '"why?"'


def test_a_database_locked_for_too_long_is_one_sentence(study_store: Store) -> None:
    def locked() -> None:
        raise MlflowException("(sqlite3.OperationalError)\ndatabase is locked")

    with pytest.raises(AwayError, match=r"does not answer: .*database is locked; waited 0 s") as error:
        replace(study_store, patience_seconds=0.1).patiently(locked)
    assert "run the same command again" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_is_not_there_is_away(study_store: Store) -> None:
    absent = Store(f"http://127.0.0.1:{free_port()}", study_store.artifacts, patience_seconds=0.0)
    with pytest.raises(AwayError, match="does not answer"):
        absent.create_experiment("study")


def test_a_refusal_is_not_waited_for(study_store: Store) -> None:
    with pytest.raises(TrackingError, match="refused"):
        study_store.patiently(lambda: study_store.client.get_run("0" * 32))


def test_a_process_that_is_slower_to_create_an_experiment_takes_the_others(
    study_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, client = "contested", study_store.client
    create = type(client).create_experiment

    def be_slower(*arguments: object, **named: object) -> str:
        monkeypatch.undo()
        create(client, name)
        raise MlflowException("it exists", error_code=RESOURCE_ALREADY_EXISTS)

    monkeypatch.setattr(type(client), "create_experiment", be_slower)
    assert study_store.create_experiment(name) == client.get_experiment_by_name(name).experiment_id


@pytest.mark.parametrize(
    "sentence",
    [
        "(sqlite3.IntegrityError) UNIQUE constraint failed: experiment_tags.key",
        "(psycopg.errors.UniqueViolation) duplicate key value violates unique constraint",
    ],
)
def test_a_process_that_is_slower_to_write_a_tag_writes_it_again(
    sentence: str, study_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = study_store.client
    write = type(client).set_experiment_tag

    def be_slower(_: object, experiment: str, key: str, text: str) -> None:
        monkeypatch.undo()
        write(client, experiment, key, "others")
        raise MlflowException(sentence, error_code=BAD_REQUEST)

    monkeypatch.setattr(type(client), "set_experiment_tag", be_slower)
    study_store.tag_experiment("study", {"question": "ours"})
    assert study_store.client.get_experiment_by_name("study").tags["question"] == '"ours"'


def test_a_deleted_experiment_says_how_to_restore_it(study_store: Store) -> None:
    number = study_store.create_experiment("gone")
    study_store.client.delete_experiment(number)
    with pytest.raises(TrackingError, match=f"restore -x {number}"):
        study_store.create_experiment("gone")


def test_a_missing_database_driver_is_named(study_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(TrackingError, match=r"needs the package psycopg; .*ppo-workbench\[postgres\]"):
        Store("postgresql://nobody@127.0.0.1/none", study_store.artifacts).create_experiment("study")


def test_passwords_are_not_shown(study_store: Store) -> None:
    def fail() -> None:
        raise MlflowException("request to http://me:secret@host/api failed")

    with pytest.raises(AwayError) as error:
        Store("http://me:secret@host", study_store.artifacts).attempt(fail)
    assert "secret" not in str(error.value)
    assert str(error.value).count("http://me:***@host") == 2


def test_patience_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "7.5")
    assert default_store(tmp_path).patience_seconds == 7.5


def test_another_uri_is_taken_as_it_is(tmp_path: Path) -> None:
    assert default_store(tmp_path, "http://127.0.0.1:1").uri == "http://127.0.0.1:1"
    assert sqlite_file("http://127.0.0.1:1") is None
