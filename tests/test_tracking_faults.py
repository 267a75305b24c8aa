"""Faults for real: a server that is gone, a locked database, a killed upload; none loses a point."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mlflow_server import WAIT_SECONDS, MlflowServer, wait_for
from tests.postgres import new_database
from tests.tracked_runs import (
    LONG,
    Point,
    before_iteration,
    expected_points,
    make_log,
    stored_points,
    stored_steps,
)
from workbench import cli
from workbench.commands.shared import FAILED
from workbench.stages.prepare import Prepared
from workbench.tracking.delivery import MARKER
from workbench.tracking.spool import NAME, open_spool
from workbench.tracking.store import Store, pauses, sqlite_file, store_address
from workbench.tracking.sync import sync

STEPS, METRICS = 100, 50


@pytest.fixture(scope="module")
def database(postgres: str) -> str:
    """A PostgreSQL database of MLflow."""
    return new_database(postgres)


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A tracking server in front of it."""
    server = MlflowServer(database, tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def expected(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> list[Counter[Point]]:
    """The points of undisturbed runs with seeds 0 and 1."""
    home = tmp_path_factory.mktemp("undisturbed")
    return [expected_points(prepared, home / str(seed), seed=seed) for seed in (0, 1)]


def synced(monkeypatch: pytest.MonkeyPatch, home: Path) -> int:
    """Call `workbench sync`; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["workbench", "sync", "--home", str(home)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_a_server_that_goes_away_and_comes_back_gets_every_point_once(
    server: MlflowServer, prepared: Prepared, tmp_path: Path, expected: list[Counter[Point]],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = Store(server.uri, tmp_path / "unused")
    log = make_log(prepared, tmp_path / "home" / "through", store)
    hasty = make_log(
        prepared, tmp_path / "home" / "during", replace(store, patience_seconds=0.3), seed=1
    )

    has_failed = threading.Event()
    before_iteration(
        monkeypatch, hasty.run, {LONG.iterations - 1: lambda: wait_for(has_failed.is_set, "a failure")}
    )

    def go_away() -> None:
        wait_for(lambda: stored_steps(store, log.run.fingerprint), "a first step in the store")
        server.stop()

    def pauses_after_a_failure() -> Iterator[float]:
        for pause in pauses():
            has_failed.set()
            yield pause

    def whole_run_while_it_is_away() -> None:
        monkeypatch.setattr("workbench.tracking.uploader.pauses", pauses_after_a_failure)
        run_id, result = hasty.train()
        assert run_id is None
        assert result.history[-1][0] == LONG.iterations
        assert "does not answer" in capsys.readouterr().err
        monkeypatch.setattr("workbench.tracking.sync.PATIENCE_SECONDS", 0.3)
        assert synced(monkeypatch, hasty.run.folder) == FAILED
        assert (hasty.run.folder / NAME).exists()

    actions = {3: go_away, 5: whole_run_while_it_is_away, LONG.iterations - 1: server.start}
    before_iteration(monkeypatch, log.run, actions)
    run_id, _ = log.train()
    assert stored_points(store, run_id) == expected[0]
    assert not (log.run.folder / NAME).exists()

    assert synced(monkeypatch, tmp_path / "home") == 0
    assert "study vanilla/s1: arrived" in capsys.readouterr().out
    found = store.runs(store.create_experiment("study"), "tags.outcome != 'running'")
    late = next(run.info.run_id for run in found if run.info.run_id != run_id)
    assert stored_points(store, late) == expected[1]
    names = {file.path for file in store.client.list_artifacts(late)}
    assert names == {"recipe.txt", "samples.json"}
    assert synced(monkeypatch, tmp_path / "home") == 0
    assert "everything is in MLflow" in capsys.readouterr().out


def test_postgresql_without_a_server_gets_every_point_once(
    postgres: str,
    server: MlflowServer,
    prepared: Prepared,
    tmp_path: Path,
    expected: list[Counter[Point]],
) -> None:
    store = Store(server.backend, tmp_path / "artifacts")
    log = make_log(prepared, tmp_path / "run", store, seed=0)
    direct = replace(log, experiment="direct")
    run_id, _ = direct.train()
    assert stored_points(store, run_id) == expected[0]


@pytest.mark.parametrize("seconds", [3.0, pytest.param(30.0, marks=pytest.mark.soak)])
def test_training_goes_on_while_the_database_is_locked(
    seconds: float, study_store: Store, prepared: Prepared, folder: Path,
    expected: list[Counter[Point]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file, log = sqlite_file(study_store.uri), make_log(prepared, folder, study_store)
    assert file
    connection = sqlite3.connect(file, WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    with closing(connection) as other:

        def lock() -> None:
            wait_for(lambda: stored_steps(study_store, log.run.fingerprint), "a first step in the store")
            other.execute("BEGIN EXCLUSIVE")

        def unlock_later() -> None:  # training is in its last iteration, and was not held up
            threading.Timer(seconds, other.execute, ["ROLLBACK"]).start()

        before_iteration(monkeypatch, log.run, {2: lock, LONG.iterations - 1: unlock_later})
        run_id, _ = log.train()
    assert stored_points(study_store, run_id) == expected[0]


KILLED_UPLOAD = """
import os, signal, sys
from pathlib import Path
from mlflow.store.tracking.dbmodels.models import SqlMetric
from sqlalchemy import event
from sqlalchemy.orm import Session
from workbench.tracking.sync import sync

folder, moment, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
batches = []

@event.listens_for(Session, "after_flush")
def count(session, _):
    if any(isinstance(row, SqlMetric) for row in session.new):
        batches.append(1)
        die("in the transaction")

@event.listens_for(Session, "after_commit")
def committed(session):
    die("before the answer")

def die(now):
    if now == moment and len(batches) == number:
        os.kill(os.getpid(), signal.SIGKILL)

sync(folder)
"""
"""`workbench sync` that kills itself at a moment of its n-th batch of points."""


def test_an_upload_killed_again_and_again_sends_every_point_once(
    study_store: Store, folder: Path
) -> None:
    metrics = {MARKER: 0.0} | {f"reward/m{i}": float(i) for i in range(METRICS - 1)}
    with open_spool(folder, "killed") as spool:
        tags = {"workbench.cell": "vanilla/s0", "workbench.run": "killed"}
        named = {"run": "killed", "name": "vanilla/s0", "experiment": "study"}
        address = store_address(study_store, folder)
        spool.write("open", {**named, "tags": tags, "params": {}, "store": address})
        spool.log([(step, metrics) for step in range(STEPS)])
        spool.write("end", {"tags": {"outcome": "ok"}, "status": "FINISHED"})

    arrived = []
    for moment, number in (("in the transaction", 2), ("before the answer", 2)):
        command = [sys.executable, "-c", KILLED_UPLOAD, str(folder), moment, str(number)]
        assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
        arrived.append(stored_steps(study_store, "killed"))
    assert arrived == [20, 60]  # of 20 steps each: the first batch; two more, the second's answer lost

    assert [upload.state for upload in sync(folder)] == ["arrived"]
    [run] = study_store.runs(study_store.create_experiment("study"))
    assert run.info.status == "FINISHED"
    expected = Counter((key, step, value) for step in range(STEPS) for key, value in metrics.items())
    assert stored_points(study_store, run.info.run_id) == expected
