import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import store
from analysis.loading import load
from analysis.page.limits import limits
from analysis.runs import Study
from analysis.store.artifacts import artifact_path
from analysis.store.client import StoreError
from analysis.tables import tables_of
from tests.analysis.synthetic_store import QUICKSTART, Arm, Plan, insert_points
from tests.ports import free_port

SMALL = Plan({"a": Arm(), "b": Arm(collapse=(6,))}, seeds=(0, 1), iterations=10, name="small")


def edit(uri: str, act: Callable[[sqlite3.Connection], object]) -> None:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as db, db:
        act(db)


def run_of(uri: str, cell: str) -> str:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as db:
        return str(db.execute("SELECT run_uuid FROM runs WHERE name = ?", (cell,)).fetchone()[0])


def test_runs_come_in_the_order_of_the_study_with_outcome_and_parameters(study: Study) -> None:
    assert study.arms == ("vanilla", "ppo_max")
    assert study.baseline == "vanilla"
    assert study.runs["arm"].tolist() == ["vanilla"] * 5 + ["ppo_max"] * 5
    assert study.runs["seed"].tolist() == [0, 1, 2, 3, 4] * 2
    assert study.runs["outcome"].tolist() == ["collapsed"] * 5 + ["ok"] * 5
    assert study.runs["collapse_iteration"].tolist()[:5] == [30, 34, 38, 32, 36]
    assert study.runs["kl_penalty.weight"].tolist()[5:] == ["0.05"] * 5
    assert study.params == ("kl_penalty.weight", "ppo.epochs", "task", "trick.gae")


def test_sql_and_client_read_the_same(
    make_store: Callable[[Plan], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = make_store(SMALL)
    points = [("reward/gold", 3, float("nan")), ("x/infinite", 0, 1.7976931348623157e308)]
    edit(uri, lambda db: insert_points(db, run_of(uri, "a/s0"), points, timestamp=2))
    gone = "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?"
    edit(uri, lambda db: db.execute(gone, (run_of(uri, "b/s1"),)))
    by_sql = load("small", uri)
    assert by_sql.notes
    monkeypatch.setattr(store, "sqlite_file", lambda uri: None)
    by_client = load("small", uri)
    assert by_client.spec == by_sql.spec
    assert by_client.prepared == by_sql.prepared
    assert by_client.notes == by_sql.notes
    pd.testing.assert_frame_equal(by_client.runs, by_sql.runs)
    pd.testing.assert_frame_equal(by_client.metrics, by_sql.metrics)


def test_the_path_of_a_database_is_answered_with_its_address(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(SMALL)
    file = Path(uri.removeprefix("sqlite:///"))
    for path in (file, file.parent):
        with pytest.raises(StoreError, match=rf"{path} is a path, not an address; write {uri}$"):
            load("small", str(path))


def test_the_last_timestamp_wins_over_the_order_of_rows(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(SMALL)
    run = run_of(uri, "a/s0")
    edit(uri, lambda db: insert_points(db, run, [("x/y", 0, 5.0), ("x/y", 1, 6.0)], timestamp=9))
    edit(uri, lambda db: insert_points(db, run, [("x/y", 0, 7.0), ("x/y", 1, 4.0)], timestamp=8))
    steps, values = load("small", uri).series(run, "x/y")
    assert steps.tolist() == [0, 1]
    assert values.tolist() == [5.0, 6.0]


def test_nan_and_infinity_come_back_as_such(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(SMALL)
    run = run_of(uri, "a/s0")
    huge = [("x/y", 0, float("nan")), ("x/y", 1, 1.7976931348623157e308), ("x/y", 2, -1.79e308)]
    edit(uri, lambda db: insert_points(db, run, huge))
    values = load("small", uri).series(run, "x/y")[1]
    np.testing.assert_array_equal(values, [np.nan, np.inf, -np.inf])


def test_deleted_runs_are_not_there(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(SMALL)
    run = run_of(uri, "a/s0")
    gone = "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?"
    edit(uri, lambda db: db.execute(gone, (run,)))
    study = load("small", uri)
    assert run not in study.runs["run_id"].tolist()
    assert study.deleted == {"a/s0"}
    [note] = study.notes
    assert f"a/s0 (run {run})" in note
    assert f"MLFLOW_TRACKING_URI={uri} mlflow runs restore --run-id RUN" in note
    assert not any("not started" in said for said in limits(study, tables_of(study)))


def test_a_deleted_run_that_was_replaced_or_had_not_ended_is_not_missed(
    make_store: Callable[[Plan], str],
) -> None:
    uri = make_store(SMALL)
    cells = {name: run_of(uri, name) for name in ("a/s0", "a/s1")}

    def replace(db: sqlite3.Connection) -> None:
        db.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", (cells["a/s0"],))
        db.execute("UPDATE params SET value = '0' WHERE key = 'seed' AND run_uuid = ?", (cells["a/s1"],))

    edit(uri, replace)
    assert load("small", uri).notes == ()
    unfinished = "UPDATE tags SET value = 'running' WHERE key = 'outcome' AND run_uuid = ?"
    edit(uri, lambda db: db.execute(unfinished, (cells["a/s0"],)))
    edit(uri, lambda db: db.execute("DELETE FROM params WHERE run_uuid = ?", (cells["a/s1"],)))
    assert not load("small", uri).deleted


def test_of_two_runs_of_a_cell_the_finished_one_is_used(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(SMALL)
    run = run_of(uri, "a/s0")

    def double(db: sqlite3.Connection) -> None:
        db.execute(
            "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, artifact_uri, "
            "experiment_id) SELECT 'later', name, 'RUNNING', start_time + 1, lifecycle_stage, "
            "artifact_uri, experiment_id FROM runs WHERE run_uuid = ?",
            (run,),
        )
        db.executemany("INSERT INTO params VALUES (?, ?, 'later')", [("arm", "a"), ("seed", "0")])

    edit(uri, double)
    found = load("small", uri)
    assert run in found.runs["run_id"].tolist()
    assert len(found.runs) == 4
    assert "More than one run was recorded for a/s0" in found.notes[0]


def test_a_run_without_arm_is_left_out_and_said(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(SMALL)
    run = run_of(uri, "a/s0")
    edit(uri, lambda db: db.execute("DELETE FROM params WHERE run_uuid = ? AND key='arm'", (run,)))
    found = load("small", uri)
    assert len(found.runs) == 3
    assert found.notes == (f"Run {run} has no arm or no integer seed and was left out.",)


def test_curves_align_runs_that_ended_early_with_nan(
    make_study: Callable[[Plan], Study],
) -> None:
    study = make_study(Plan(SMALL.arms, (0, 1), 10, name="small", stop={"a/s1": 4}))
    steps, values = study.curves("policy/kl_to_sft", "a")
    assert steps.tolist() == list(range(10))
    assert np.isfinite(values).sum(axis=1).tolist() == [10, 4]


def test_an_unknown_study_is_answered_with_the_nearest_name(quickstart: str) -> None:
    with pytest.raises(ValueError, match=r"there is no study 'dmo' in .*; did you mean demo"):
        load("dmo", quickstart)


def test_a_missing_store_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no MLflow database at .*nothing.db"):
        load("demo", f"sqlite:///{tmp_path}/nothing.db")


def test_a_file_that_is_no_store_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to look like one " * 9)
    with pytest.raises(ValueError, match="cannot be read as an MLflow database"):
        load("demo", f"sqlite:///{tmp_path}/text.db")


def test_a_malformed_study_tag_is_said_in_a_sentence(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(SMALL)
    edit(uri, lambda db: db.execute("UPDATE experiment_tags SET value = '[1]'"))
    with pytest.raises(ValueError, match="must be a JSON object"):
        load("small", uri)


def test_artifacts_are_found_by_file_uri_and_by_plain_path(study: Study) -> None:
    run = study.runs.iloc[0]
    found = study.artifact_path(run["run_id"], "samples.json")
    assert found is not None and found.is_file()
    plain = str(run["artifact_uri"]).removeprefix("file://")
    assert artifact_path(plain, "samples.json", study.tracking_uri) == found
    assert study.artifact_path(run["run_id"], "nothing.json") is None


@pytest.mark.parametrize(
    "scheme", ["mlflow-artifacts:/1/{run}/artifacts", "file:///gone/1/{run}/artifacts"]
)
def test_artifacts_of_a_moved_store_are_found_beside_it(
    scheme: str, study: Study, tmp_path: Path
) -> None:
    old = Path(study.tracking_uri.removeprefix("sqlite:///")).parent
    shutil.copytree(old, tmp_path / "moved")
    run = study.runs["run_id"].iloc[0]
    uri = scheme.format(run=run)
    found = artifact_path(uri, "samples.json", f"sqlite:///{tmp_path}/moved/mlflow.db")
    assert found == tmp_path / "moved" / "artifacts" / "1" / run / "artifacts" / "samples.json"
    assert found.is_file()


def test_a_store_is_only_read(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(QUICKSTART)
    file = Path(uri.removeprefix("sqlite:///"))
    before = file.read_bytes()
    load("demo", uri)
    assert file.read_bytes() == before


def test_scores_of_the_start_are_left_out_where_each_seed_has_its_own_reward_model(
    make_store: Callable[[Plan], str],
) -> None:
    uri = make_store(SMALL)
    whole = load("small", uri).prepared
    tags = [
        ("reward_model", f'{{"accuracy": 0.7{seed}}}', run_of(uri, f"{arm}/s{seed}"))
        for arm in ("a", "b")
        for seed in (0, 1)
    ]
    edit(uri, lambda db: db.executemany("INSERT INTO tags VALUES (?,?,?)", tags))
    own = load("small", uri).prepared
    gone = {"proxy", "proxy_std"}
    assert gone <= set(whole["start"])
    assert own == whole | {"start": {k: v for k, v in whole["start"].items() if k not in gone}}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (
            "http://someone:secret@127.0.0.1:{port}",
            "http://someone:***@127.0.0.1:{port} cannot be read: API",
        ),
        ("nowhere://x", "nowhere://x cannot be read: "),
    ],
)
def test_a_store_that_is_away_or_unknown_is_one_sentence(
    uri: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = free_port()
    with pytest.raises(StoreError, match=re.escape(said.format(port=port))) as error:
        load("small", uri.format(port=port))
    assert "\n" not in str(error.value) and "secret" not in str(error.value)
