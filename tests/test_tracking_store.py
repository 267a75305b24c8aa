"""A study exported as a small store: only that study, URIs that hold anywhere, thinned if too large."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from workbench.tracking import example as module
from workbench.tracking.delivery import points
from workbench.tracking.example import example_copy, export_example
from workbench.tracking.store import Store, default_store, sqlite_file
from workbench.tracking.ui import served

STEPS = 11


@pytest.fixture(scope="module")
def store(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with two studies and a summary; every run has a metric at steps 0 to 10, and a text."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(empty_database, home)
    store = default_store(home)
    for name in ("mine", "mine/summary", "other"):
        run = store.client.create_run(store.create_experiment(name), run_name=f"{name}/s0")
        metrics = [point for k in range(STEPS) for point in points({"reward/proxy": float(k)}, 0, k)]
        store.client.log_batch(run.info.run_id, metrics=metrics)
        store.client.log_text(run.info.run_id, name, "recipe.txt")
    return store


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as db:
        return db.execute(query).fetchall()


def exported(store: Store, target: Path, *studies: str) -> Path:
    database = sqlite_file(store.uri)
    assert database
    export_example(database, studies or ["mine"], target)
    return target / "mlflow.db"


def test_only_the_study_and_its_summary_are_exported(store: Store, tmp_path: Path) -> None:
    database = exported(store, tmp_path / "example")
    names = rows(database, "SELECT name FROM experiments ORDER BY name")
    assert [name for (name,) in names] == ["Default", "mine", "mine/summary"]
    assert rows(database, "SELECT count(*) FROM metrics") == [(2 * STEPS,)]


def test_several_studies_are_exported_together(store: Store, tmp_path: Path) -> None:
    database = exported(store, tmp_path / "example", "mine", "other")
    names = rows(database, "SELECT name FROM experiments ORDER BY name")
    assert [name for (name,) in names] == ["Default", "mine", "mine/summary", "other"]
    assert rows(database, "SELECT count(*) FROM metrics") == [(3 * STEPS,)]


def test_indexes_that_a_small_store_does_not_need_are_left_out(store: Store, tmp_path: Path) -> None:
    query = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'index_metrics_run_uuid%'"
    assert rows(sqlite_file(store.uri) or Path(), query) == [(len(module.SPARED),)]
    assert rows(exported(store, tmp_path / "example"), query) == [(0,)]


def test_uris_hold_at_any_path(store: Store, tmp_path: Path) -> None:
    database = exported(store, tmp_path / "example")
    uris = rows(database, "SELECT experiment_id, run_uuid, artifact_uri FROM runs")
    for experiment, run, uri in uris:
        assert uri == f"mlflow-artifacts:/{experiment}/{run}/artifacts"
        text = (
            tmp_path / "example" / "artifacts" / str(experiment) / str(run) / "artifacts" / "recipe.txt"
        )
        assert text.read_text().startswith("mine")
    assert str(store.artifacts).encode() not in database.read_bytes()


def test_artifacts_are_found_below_a_path_that_a_uri_spells_otherwise(
    empty_database: Path, tmp_path: Path
) -> None:
    home = tmp_path / "my runs"
    home.mkdir()
    store = default_store(Path(shutil.copy(empty_database, home)).parent)
    run = store.client.create_run(store.create_experiment("ppo+kl"), run_name="vanilla/s0")
    store.client.log_text(run.info.run_id, "vanilla", "recipe.txt")
    exported(store, tmp_path / "example", "ppo+kl")
    [text] = (tmp_path / "example" / "artifacts").rglob("recipe.txt")
    assert text.read_text() == "vanilla"


def test_a_run_without_the_artifacts_that_it_has_is_not_exported(
    empty_database: Path, tmp_path: Path
) -> None:
    store = default_store(Path(shutil.copy(empty_database, tmp_path)).parent)
    tags = {module.MARK: '[{"path": "samples.json", "type": "table"}]'}
    store.client.create_run(store.create_experiment("moved"), run_name="vanilla/s0", tags=tags)
    shutil.rmtree(store.artifacts, ignore_errors=True)
    with pytest.raises(ValueError, match=r"run vanilla/s0 has artifacts, but they are not in .*/moved/"):
        exported(store, tmp_path / "example", "moved")
    assert not (tmp_path / "example").exists()


@pytest.mark.parametrize("home", ["--home '/some/where else' ", "--home=/some/where ", ""])
def test_commands_do_not_say_where_the_runs_were(home: str, store: Store, tmp_path: Path) -> None:
    command = f"workbench ablate mine.yaml {home}--workers 2"
    store.tag_experiment("mine", {"workbench.study": {"name": "mine", "command": command}})
    database = exported(store, tmp_path / "example")
    query = "SELECT value FROM experiment_tags WHERE key = 'workbench.study'"
    [(tag,)] = rows(database, query)
    assert json.loads(str(tag)) == {"name": "mine", "command": "workbench ablate mine.yaml --workers 2"}


def test_a_large_study_is_thinned_but_keeps_first_and_last_step(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "THINNINGS", (3,))
    database = exported(store, tmp_path / "example")
    steps = rows(database, "SELECT DISTINCT step FROM metrics ORDER BY step")
    assert [step for (step,) in steps] == [0, 3, 6, 9, 10]


def test_a_study_that_does_not_fit_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 1000)
    with pytest.raises(ValueError, match="does not fit"):
        exported(store, tmp_path / "example")
    assert not list(tmp_path.iterdir())


def test_an_unknown_study_names_the_nearest(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'mine'"):
        export_example(sqlite_file(store.uri) or Path(), ["mien"], tmp_path / "example")


def test_a_damaged_store_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_text("this is no database at all, and longer than a header")
    with pytest.raises(ValueError, match=r"mlflow\.db cannot be exported: file is not a database$"):
        export_example(database, ["mine"], tmp_path / "example")
    assert list(tmp_path.iterdir()) == [database]


def test_nothing_is_overwritten(store: Store, tmp_path: Path) -> None:
    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "mine.txt").touch()
    with pytest.raises(ValueError, match="is not empty"):
        exported(store, tmp_path / "example")


def test_an_example_is_served_from_a_copy(store: Store, tmp_path: Path) -> None:
    exported(store, tmp_path / "example")
    database, artifacts = example_copy(tmp_path / "example", tmp_path)
    assert database.parent != tmp_path / "example"
    assert artifacts.is_dir()
    assert example_copy(tmp_path / "example", tmp_path) == (database, artifacts)


def test_a_missing_example_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="workbench example export STUDY"):
        example_copy(tmp_path / "example", tmp_path)


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} is taken"):
            with served(tmp_path / "mlflow.db", tmp_path, port):
                pass
