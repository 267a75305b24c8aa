import json
import zlib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from analysis import chart_view, store
from analysis.chart_view import dress
from analysis.curves import curve
from analysis.loading import load
from analysis.selection import colour
from analysis.summary import summarise
from tests.analysis.synthetic_store import QUICKSTART, Plan

SHORT = replace(QUICKSTART, iterations=20, seeds=(0, 1, 2))


def test_the_summary_has_one_run_an_arm_with_interval_metrics(
    make_store: Callable[[Plan], str],
) -> None:
    uri = make_store(SHORT)
    summarise(load("demo", uri))
    raw = store.read(uri, "demo/summary")
    assert raw is not None
    assert sorted(run.params["arm"] for run in raw.runs) == ["ppo_max", "vanilla"]
    run = next(run for run in raw.runs if run.params["arm"] == "vanilla")
    points = raw.points[run.run_id]
    study = load("demo", uri)
    found = curve(study, "policy/kl_to_sft", "vanilla")
    for end, values in (("iqm", found.centre), ("low", found.low), ("high", found.high)):
        logged = points.metric == points.names.index(f"policy/kl_to_sft.{end}")
        assert points.step[logged].tolist() == list(range(20))
        np.testing.assert_array_equal(points.value[logged], values)


def test_a_summary_written_again_replaces_its_runs_and_no_others(
    make_store: Callable[[Plan], str], tmp_path: Path
) -> None:
    uri = make_store(SHORT)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<p>report</p>")
    summarise(load("demo", uri), tmp_path / "report")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("demo/summary").experiment_id
    client.create_run(experiment, run_name="prepared")
    summarise(load("demo", uri))
    runs = client.search_runs([experiment])
    assert sorted(run.info.run_name for run in runs) == ["ppo_max", "prepared", "report", "vanilla"]
    logged = next(run for run in runs if run.info.run_name == "report")
    assert [one.path for one in client.list_artifacts(logged.info.run_id)] == ["report.html"]
    assert "/artifacts/summary/" in logged.info.artifact_uri


def state_of(tag: str) -> dict[str, object]:
    view = json.loads(tag)
    found: dict[str, object] = json.loads(zlib.decompress(b64decode(view["state"][8:])))
    return found


def test_the_chart_view_groups_by_arm_and_opens_by_its_key(
    make_store: Callable[[Plan], str],
) -> None:
    uri = make_store(SHORT)
    views = dress(uri)
    experiment = MlflowClient(uri).get_experiment_by_name("demo")
    page, asked = views["demo"].split("?")
    assert page == f"#/experiments/{experiment.experiment_id}/runs"
    assert (
        asked == "compareRunsMode=CHART&viewStateShareKey=workbench-arms&workflowType=machine_learning"
    )
    state = state_of(experiment.tags["mlflow.sharedViewState.workbench-arms"])
    assert state["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "arm"}]
    charts = {chart.get("metricKey") for chart in state["compareRunCharts"]}
    assert {"policy/kl_to_sft", "reward/proxy", "final/gold"} <= charts


def test_one_study_of_a_store_is_dressed_alone(make_store: Callable[[Plan], str]) -> None:
    uri = make_store(SHORT)
    client = MlflowClient(uri)
    client.create_experiment("other", tags={"workbench.study": '{"question": "Why?"}'})
    assert list(dress(uri, "demo")) == ["demo"]
    assert client.get_experiment_by_name("other").tags.keys() == {"workbench.study"}
    assert sorted(dress(uri)) == ["demo", "other"]


def colours_in(uri: str) -> dict[str, set[str | None]]:
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    arms: dict[str, set[str | None]] = {run.data.params["arm"]: set() for run in runs}
    for run in runs:
        arms[run.data.params["arm"]].add(run.data.tags.get("mlflow.runColor"))
    return arms


def test_runs_take_the_colours_of_the_figures_unless_they_have_their_own(
    make_store: Callable[[Plan], str],
) -> None:
    uri = make_store(SHORT)
    client, study = MlflowClient(uri), load("demo", uri)
    client.set_tag(study.runs_of("vanilla")["run_id"].iloc[0], "mlflow.runColor", "#123456")
    dress(uri)
    own = {arm: {colour(study, arm)} for arm in ("vanilla", "ppo_max")}
    assert colours_in(uri) == own | {"vanilla": {*own["vanilla"], "#123456"}}


def test_a_study_is_described_by_its_question_unless_somebody_described_it(
    make_store: Callable[[Plan], str],
) -> None:
    uri = make_store(SHORT)
    client, key = MlflowClient(uri), "mlflow.note.content"
    experiment = client.get_experiment_by_name("demo")
    dress(uri)
    question = json.loads(experiment.tags["workbench.study"])["question"]
    assert question and client.get_experiment_by_name("demo").tags[key] == question
    client.set_experiment_tag(experiment.experiment_id, key, "It does.")
    dress(uri)
    assert client.get_experiment_by_name("demo").tags[key] == "It does."


@pytest.mark.parametrize(
    "tag", ["{}", "[1]", '{"arms":', '{"arms": ["vanilla"]}', '{"question": "q", "arms": null}']
)
def test_a_study_whose_tag_is_not_ours_stays_as_it_is(
    tag: str, make_store: Callable[[Plan], str]
) -> None:
    uri = make_store(SHORT)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("demo").experiment_id
    client.set_experiment_tag(experiment, "workbench.study", tag)
    dress(uri)
    assert colours_in(uri)["ppo_max"] == {None}


def test_runs_of_more_arms_than_figures_draw_keep_their_colours(
    make_store: Callable[[Plan], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = make_store(SHORT)
    monkeypatch.setattr(chart_view, "MAX_ARMS", 1)
    dress(uri)
    assert colours_in(uri) == {"vanilla": {None}, "ppo_max": {None}}


def test_a_chart_of_a_metric_that_was_not_recorded_is_left_out() -> None:
    charts = chart_view.view_state(frozenset({"reward/proxy"}))["compareRunCharts"]
    lines = [chart["metricKey"] for chart in charts if chart["type"] == "LINE"]
    assert lines == ["reward/proxy"]


def test_a_view_too_long_for_a_tag_is_warned_of_and_not_saved(
    make_store: Callable[[Plan], str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(chart_view, "MAX_TAG", 10)
    assert "?" not in dress(make_store(SHORT))["demo"]
    assert "over MLflow's 10" in caplog.text
