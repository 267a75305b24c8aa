import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from rich.console import Console

from analysis import terminal
from analysis.arm_table import arm_table
from analysis.comparison import COLUMNS
from analysis.loading import load
from analysis.page.provenance import facts
from analysis.runs import Study
from tests.analysis.synthetic_store import QUICKSTART, Arm, Plan, write_store
from workbench import cli

Make = Callable[[Plan], str]


def printed(*names: str, uri: str, metrics: tuple[str, ...] = ()) -> str:
    page = io.StringIO()
    Console(file=page, width=200).print(terminal.as_page(terminal.compared(names, uri, metrics)))
    return page.getvalue()


def test_a_study_alone_is_compared_with_its_baseline(quickstart: str) -> None:
    table = terminal.compared(["demo"], quickstart).table
    assert set(table["arm"]) == {"ppo_max"} and set(table["against"]) == {"vanilla"}
    assert list(table.columns) == COLUMNS


def test_the_arm_that_is_named_first_is_what_others_are_compared_with(quickstart: str) -> None:
    one = terminal.compared(["demo", "vanilla", "ppo_max"], quickstart, ["final/gold"]).table.iloc[0]
    other = terminal.compared(["demo", "ppo_max", "vanilla"], quickstart, ["final/gold"]).table.iloc[0]
    assert one["difference"] == -other["difference"] > 0
    assert other["arm"] == "vanilla"


def test_two_studies_are_compared_arm_by_arm_over_shared_seeds(
    make_store: Make, template: Path, tmp_path: Path
) -> None:
    uri = make_store(QUICKSTART)
    after = Plan({"ppo_max": Arm(gain=1.5), "new": Arm()}, seeds=(2, 3, 4, 5), name="after")
    write_store(after, tmp_path / "store", template)
    found = terminal.compared(["demo", "after"], uri, ["final/gold"])
    table = found.table
    assert not found.notes
    [row] = [row for _, row in table.iterrows()]
    assert (row["arm"], row["against"], row["n"]) == ("ppo_max of after", "ppo_max of demo", 3)
    assert row["difference"] == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ValueError, match="'new' is neither an arm of demo"):
        terminal.compared(["demo", "new"], uri)


def test_what_two_studies_do_not_share_is_said(make_store: Make, template: Path, tmp_path: Path) -> None:
    uri = make_store(QUICKSTART)
    write_store(replace(QUICKSTART, name="short", iterations=40), tmp_path / "store", template)
    expected = "demo and short differ in ppo.iterations: 60 and 40."
    found = terminal.compared(["demo", "short"], uri)
    assert found.notes == [expected]
    assert found.notes[0] in terminal.as_data(found)["note"]
    assert found.notes[0] in printed("demo", "short", uri=uri)


def test_hashes_tell_of_recipes_and_settings_that_differ(study: Study) -> None:
    assert not list(terminal.differences(study, replace(study, name="other")))
    for tag, what in (
        ("settings_hash", "settings that their tags do not list"),
        ("recipe_hash", "the recipe of arm vanilla, the recipe of arm ppo_max"),
    ):
        one, other = (
            replace(study, name=name, runs=study.runs.assign(**{tag: name})) for name in ("a", "b")
        )
        assert list(terminal.differences(one, other)) == [f"a and b differ in {what}."]


def test_settings_that_a_tag_has_no_room_for_are_not_taken_for_the_defaults(study: Study) -> None:
    hashed = (study.runs.assign(settings_hash=name) for name in ("a", "b"))
    specs = (study.spec | {"settings": settings} for settings in (None, {"ppo.epochs": 4}))
    full, other = (
        replace(study, name=name, spec=spec, runs=runs)
        for name, spec, runs in zip(("full", "other"), specs, hashed, strict=True)
    )
    what = "settings that their tags do not list"
    assert list(terminal.differences(full, other)) == [f"full and other differ in {what}."]
    longer = replace(other, spec=other.spec | {"iterations": 99})
    [told] = terminal.differences(full, longer)
    assert told.endswith(f"ppo.iterations: 60 and 99, perhaps {what}.")
    assert not list(terminal.differences(full, replace(other, runs=full.runs)))


def test_a_study_whose_tag_has_no_settings_is_compared_and_told_of(
    make_store: Make, template: Path, tmp_path: Path
) -> None:
    uri = make_store(QUICKSTART)
    write_store(replace(QUICKSTART, name="full"), tmp_path / "store", template)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("full")
    spec = json.loads(experiment.tags["workbench.study"])
    del spec["settings"]
    client.set_experiment_tag(experiment.experiment_id, "workbench.study", json.dumps(spec))
    assert not terminal.compared(["demo", "full"], uri, ["final/gold"]).notes
    full = load("full", uri)
    assert "settings" not in dict(facts(full, full.runs.iloc[:0]))


def test_a_study_without_a_run_that_ended_says_so(make_store: Make) -> None:
    every = [f"{arm}/s{seed}" for arm in QUICKSTART.arms for seed in QUICKSTART.seeds]
    uri = make_store(replace(QUICKSTART, stop=dict.fromkeys(every, 20)))
    expected = "no run of demo has ended yet; `workbench status demo` says how far they are"
    with pytest.raises(ValueError, match=expected):
        terminal.compared(["demo"], uri)
    with pytest.raises(ValueError, match=expected):
        arm_table(load("demo", uri), ["final/gold"])


def test_arms_that_share_no_seed_are_said_to(make_store: Make) -> None:
    stopped = {f"vanilla/s{seed}": 20 for seed in QUICKSTART.seeds}
    uri = make_store(replace(QUICKSTART, stop=stopped))
    with pytest.raises(ValueError, match=r"^the arms of demo have no seed in common at which both have"):
        terminal.compared(["demo"], uri)


def test_where_there_is_no_interval_and_no_note_none_is_printed(make_store: Make) -> None:
    page = printed("demo", uri=make_store(replace(QUICKSTART, seeds=(0,))), metrics=("final/gold",))
    row = page.splitlines()[1]
    assert "– to –" not in row and "–" in row
    assert page.endswith("this may be chance).\n")


def test_runs_that_have_not_ended_are_not_compared(make_store: Make) -> None:
    uri = make_store(replace(QUICKSTART, stop={"ppo_max/s1": 20}, failed={"vanilla/s0": "lost"}))
    found = terminal.compared(["demo"], uri, ["final/gold", "mean/eval/gold", "policy/kl_to_sft"])
    assert found.table["n"].tolist() == [3, 3, 3]
    between = terminal.compared(["demo", "vanilla", "ppo_max"], uri, ["policy/kl_to_sft"])
    assert between.table["n"].tolist() == [3]


def test_what_cannot_be_compared_is_said_in_a_sentence(quickstart: str) -> None:
    for names, metrics, reason in (
        (["demo", "vanilla"], [], "a comparison needs two arms; demo has vanilla, ppo_max"),
        (["demo", "vanilla", "none"], [], "'none' is neither an arm of demo"),
        (["demo"], ["final/glod"], "no run of demo recorded 'final/glod'"),
        (["damo"], [], "there is no study 'damo'"),
        (["demo", "demo"], [], "'demo' is named twice"),
        (["demo", "vanilla", "vanilla"], [], "'vanilla' is named twice"),
    ):
        with pytest.raises(ValueError, match=reason):
            terminal.compared(names, quickstart, metrics)


def test_the_page_has_the_numbers_and_the_sentence(quickstart: str) -> None:
    page = printed("demo", uri=quickstart, metrics=("final/gold", "final/kl_to_sft"))
    row = terminal.compared(["demo"], quickstart, ["final/gold", "final/kl_to_sft"]).table.iloc[0]
    assert f"{row['difference']:.2f}" in page
    assert "Final gold score: ppo_max is" in page and "nats/response below vanilla" in page
    assert "5 paired seeds cannot give a p" in page
    for name in ("difference", "95 % interval", "Holm", "detectable"):
        assert name in page


def test_the_seeds_that_a_difference_needs_are_said_when_asked_for(quickstart: str) -> None:
    found = terminal.compared(["demo"], quickstart, ["final/gold"])
    [said] = terminal.as_data(found, 0.2)["advice"]
    twice = terminal.Compared(found.table.iloc[[0, 0]].assign(n=2))
    few = terminal.as_page(twice, 0.2).renderables
    assert few.count("The spread over 2 seeds does not say how many seeds are needed.") == 1
    assert said.startswith("Final gold score: to find a difference of 0.200 in four studies out of five")
    assert terminal.as_data(found)["advice"] == []
    with pytest.raises(ValueError, match="no number of seeds finds a difference of zero"):
        terminal.as_page(found, 0.0)


def test_the_command_prints_json_that_programs_can_read(
    quickstart: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", "demo", "--metric", "final/response_length", "--json"]
    monkeypatch.setattr(sys, "argv", ["workbench", *command, "--tracking-uri", quickstart])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    data = json.loads(capsys.readouterr().out)
    [row] = data["rows"]
    assert row["metric"] == "final/response_length" and row["n"] == 5
    assert row["improvement"] is None  # a length is neither good nor bad: NaN
    assert row["sentence"].startswith("Final response length: ") and "n = 5" in row["sentence"]
    assert np.isfinite(row["low"])
