"""`workbench sync`: each spool once, a living process left alone, an absent store asked once."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ports import free_port
from workbench import cli
from workbench.commands.shared import FAILED
from workbench.locks import LockedError
from workbench.tracking import sync as module
from workbench.tracking.delivery import MARKER, Delivery
from workbench.tracking.spool import NAME, held_spool, open_spool
from workbench.tracking.store import Store, store_address
from workbench.tracking.sync import sync

QUICKSTART = Path(__file__).parent.parent / "ablations" / "quickstart.yaml"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a store that is not there."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)


def write_run(store: Store, folder: Path, *, is_over: bool = True) -> Path:
    """Leave the spool of a run with two steps; return its folder."""
    name = f"vanilla/{folder.name}"
    tags = {"workbench.cell": name, "workbench.run": folder.name}
    named = {"run": folder.name, "name": name, "experiment": "study"}
    with open_spool(folder, folder.name) as spool:
        address = store_address(store, folder)
        spool.write("open", {**named, "tags": tags, "params": {}, "store": address})
        spool.log([(step, {"reward/proxy": float(step), MARKER: 0.0}) for step in (0, 1)])
        if is_over:
            spool.write("end", {"tags": {}, "status": "FINISHED"})
    return folder


def states(folder: Path, uri: str | None = None) -> list[tuple[str, str]]:
    return [(upload.name, upload.state) for upload in sync(folder, uri)]


def test_spools_of_runs_that_are_over_arrive_and_go(study_store: Store, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = write_run(study_store, home / "train" / "a")
    second = write_run(study_store, home / "studies" / "s" / "cells" / "b")
    assert states(home / "studies") == [("study vanilla/b", "arrived")]
    assert not (second / NAME).exists()
    assert states(home) == [("study vanilla/a", "arrived")]
    assert not (first / NAME).exists()
    assert len(study_store.runs(study_store.create_experiment("study"))) == 2


def test_the_spool_of_a_run_that_goes_on_one_day_stays(study_store: Store, tmp_path: Path) -> None:
    run = write_run(study_store, tmp_path / "home" / "a", is_over=False)
    assert states(run) == [("study vanilla/a", "unfinished")]
    assert [upload.steps for upload in sync(run)] == [0]  # both arrived the first time
    assert (run / NAME).exists()


def test_the_spool_of_a_living_process_is_left_alone(study_store: Store, tmp_path: Path) -> None:
    run = write_run(study_store, tmp_path / "home" / "a")
    with held_spool(run):
        assert states(run) == [("a", "busy")]
    assert not study_store.runs(study_store.create_experiment("study"))
    assert states(run) == [("study vanilla/a", "arrived")]


def test_a_run_cannot_begin_while_its_spool_is_uploaded(
    study_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(study_store, tmp_path / "home" / "a")

    def begin(self: Delivery) -> None:
        with pytest.raises(LockedError), held_spool(run):
            pass
        raise ValueError("seen")

    monkeypatch.setattr(Delivery, "advance", begin)
    assert [upload.reason for upload in sync(run)] == ["seen"]


def test_a_store_that_is_away_is_asked_once_and_others_get_theirs(
    study_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(study_store, uri=f"http://127.0.0.1:{free_port()}")
    for name in ("a", "b"):
        write_run(absent, tmp_path / "home" / name)
    write_run(study_store, tmp_path / "home" / "c")
    advance, asked = Delivery.advance, list[str]()

    def counted(self: Delivery) -> None:
        asked.append(self._path.parent.name)
        advance(self)

    monkeypatch.setattr(Delivery, "advance", counted)
    a, b, c = sync(tmp_path / "home")
    assert (a.state, b.state, c.state) == ("failed", "failed", "arrived")
    assert "does not answer" in a.reason
    assert b.reason == a.reason
    assert asked == ["a", "c"]
    monkeypatch.undo()
    assert states(tmp_path / "home", study_store.uri) == [  # to another store, as asked for
        ("study vanilla/a", "arrived"),
        ("study vanilla/b", "arrived"),
    ]


def test_a_run_that_delivers_its_spool_meanwhile_costs_the_others_nothing(
    study_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, *_ = (write_run(study_store, tmp_path / "home" / name) for name in ("b", "a", "c"))
    advance = Delivery.advance

    def end_another(self: Delivery) -> None:
        advance(self)
        (ending / NAME).unlink(missing_ok=True)

    monkeypatch.setattr(Delivery, "advance", end_another)
    assert states(tmp_path / "home") == [
        ("study vanilla/a", "arrived"),
        ("b", "arrived"),
        ("study vanilla/c", "arrived"),
    ]


def test_an_empty_spool_is_no_error(tmp_path: Path) -> None:
    with open_spool(tmp_path / "a", "mine"):
        pass
    assert states(tmp_path) == [("a", "unfinished")]


def test_ablate_uploads_what_is_left_before_it_writes_the_report(
    study_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "home"
    monkeypatch.setattr("ablations.runner.ablate", lambda *_: [])
    monkeypatch.setattr(sys, "argv", ["workbench", "ablate", str(QUICKSTART), "--home", str(home)])
    absent = replace(study_store, uri=f"http://127.0.0.1:{free_port()}")
    for store, status in ((absent, FAILED), (study_store, 0)):
        write_run(store, home / "studies" / "quickstart" / "cells" / "a")
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == status
        (home / "studies" / "quickstart" / "cells" / "a" / NAME).unlink(missing_ok=True)
    printed = capsys.readouterr()
    assert "study vanilla/a: the MLflow store" in printed.err
    assert "study vanilla/a: arrived, 2 steps sent" in printed.out
