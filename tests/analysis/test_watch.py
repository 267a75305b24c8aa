import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.loading import load
from analysis.runs import Study
from analysis.traces import JUDGED
from analysis.warnings import watch
from tests.analysis.synthetic_store import KL_LEAD, QUICKSTART, Arm, Plan, write_store
from workbench import cli

COLLAPSE = 32
UNDER_WAY = Plan(
    {"vanilla": Arm(collapse=(COLLAPSE, None))},
    seeds=(7, 8),
    stop={"vanilla/s7": 30, "vanilla/s8": 30},
    name="now",
)


@pytest.fixture(scope="module")
def stores(template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store with the finished quickstart and a study under way."""
    folder = tmp_path_factory.mktemp("watched")
    write_store(QUICKSTART, folder, template)
    return write_store(UNDER_WAY, folder, template)


@pytest.fixture
def alarms(study: Study) -> list[watch.Alarm]:
    return watch.learn_alarms(study)


def test_the_best_monitors_are_watched_and_none_twice_under_two_names(alarms: list[watch.Alarm]) -> None:
    assert len(alarms) == 3 and alarms[0].monitor == "policy/kl_to_sft"
    assert not {alarm.monitor for alarm in alarms} & JUDGED


def test_a_monitor_whose_alarm_is_no_better_than_chance_is_never_watched(study: Study) -> None:
    for alarm in watch.learn_alarms(study, most=100):
        assert alarm.announced / alarm.falls > alarm.false_alarms / alarm.held


def test_a_monitor_that_says_what_a_better_one_says_is_left_out(study: Study) -> None:
    kl = study.metrics[study.metrics["metric"] == "policy/kl_to_sft"]
    twice = kl.assign(metric="policy/kl_per_token", value=0.1 * kl["value"])
    doubled = replace(study, metrics=pd.concat([study.metrics, twice], ignore_index=True))
    assert "policy/kl_per_token" in doubled.metric_names
    watched = {alarm.monitor for alarm in watch.learn_alarms(doubled)}
    assert len(watched & {"policy/kl_per_token", "policy/kl_to_sft"}) == 1


def test_a_run_that_goes_the_way_of_those_that_collapsed_sets_off_the_alarm(
    stores: str, alarms: list[watch.Alarm]
) -> None:
    found = watch.alerts(load("now", stores), alarms)
    assert {(alert.arm, alert.seed) for alert in found} == {("vanilla", 7)}
    first = found[0]
    # KL departs KL_LEAD before the collapse, at iteration 17; it is over within four iterations.
    assert first.alarm.monitor == "policy/kl_to_sft"
    assert COLLAPSE - KL_LEAD < first.iteration <= COLLAPSE - KL_LEAD + 4
    assert first.departure > first.alarm.threshold
    assert first.sentence.startswith(
        f"vanilla/s7, iteration {first.iteration}: KL to the SFT policy at "
    )
    assert first.sentence.endswith("(median), and in 1 of 5 runs that held.")


@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_an_evaluation_sets_off_its_alarm_as_early_as_where_it_was_learnt(
    stores: str, alarms: list[watch.Alarm], threshold: float
) -> None:
    alarm = replace(alarms[0], monitor="eval/proxy", direction=1, threshold=threshold)
    whole = watch.alerts(load("demo", stores), [alarm])
    read = watch.alerts(load("demo", stores, watch.wanted([alarm])), [alarm])
    assert whole and [one.facts for one in read] == [one.facts for one in whole]


def test_each_alert_is_given_once_while_the_study_goes_on(
    template: Path, tmp_path: Path, alarms: list[watch.Alarm]
) -> None:
    reached = iter([10, 22, 30, 60])
    pauses = []

    def read() -> Study:
        at = next(reached)
        stop = {} if at == 60 else {"vanilla/s7": at, "vanilla/s8": at}
        return load("now", write_store(replace(UNDER_WAY, stop=stop), tmp_path / str(at), template))

    found = list(watch.follow(read, alarms, pause=lambda: pauses.append(1)))
    names = [(alert.seed, alert.alarm.monitor) for alert in found]
    assert len(names) == len(set(names)) == len(alarms)
    assert {seed for seed, _ in names} == {7}
    assert len(pauses) == 3  # it ends by itself when both runs have


def test_runs_that_had_ended_before_are_not_warned_of(study: Study, alarms: list[watch.Alarm]) -> None:
    assert watch.alerts(study, alarms)
    assert not list(watch.follow(lambda: study, alarms))


def test_a_study_without_runs_has_no_alerts(
    make_study: Callable[[Plan], Study], alarms: list[watch.Alarm]
) -> None:
    none_begun = make_study(replace(UNDER_WAY, arms={}))
    assert not len(none_begun.runs) and not watch.alerts(none_begun, alarms)


def test_runs_that_have_recorded_nothing_yet_set_off_no_alarm(
    study: Study, alarms: list[watch.Alarm]
) -> None:
    assert not watch.alerts(replace(study, metrics=study.metrics.iloc[:0]), alarms)


def test_a_study_whose_runs_have_not_all_begun_has_not_ended(study: Study) -> None:
    assert watch.has_ended(study)
    asked = study.spec | {"seeds": [*study.spec["seeds"], 99]}
    assert not watch.has_ended(replace(study, spec=asked))


def test_runs_that_all_held_give_no_thresholds(make_study: Callable[[Plan], Study]) -> None:
    calm = make_study(replace(QUICKSTART, arms={"a": Arm()}))
    with pytest.raises(ValueError, match="0 runs seen to collapse and 5 that held"):
        watch.learn_alarms(calm)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_command_prints_a_line_a_warning(
    stores: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("watch", "now", "--from", "demo", "--tracking-uri", stores, "--once")
    assert run(monkeypatch, *asked) == 0
    lines = capsys.readouterr()
    assert len(lines.out.splitlines()) == 3 and lines.out.startswith("vanilla/s7, iteration ")
    assert lines.err.startswith("watching KL to the SFT policy (policy/kl_to_sft): ")
    assert run(monkeypatch, *asked, "--json", "--monitors", "1") == 0
    [fact] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert fact["monitor"] == "policy/kl_to_sft" and fact["arm"] == "vanilla" and fact["study"] == "demo"


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (replace(UNDER_WAY, stop={}), "no run of now is under way (2 ended)"),
        (replace(UNDER_WAY, arms={"vanilla": Arm()}), "2 runs looked at, no alarm"),
    ],
)
def test_a_look_without_an_alarm_says_what_was_looked_at(
    make_store: Callable[[Plan], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    template: Path,
    tmp_path: Path,
    plan: Plan,
    said: str,
) -> None:
    uri = make_store(QUICKSTART)
    write_store(plan, tmp_path / "store", template)
    assert run(monkeypatch, "watch", "now", "--from", "demo", "--tracking-uri", uri, "--once") == 0
    lines = capsys.readouterr()
    assert not lines.out and lines.err.splitlines()[-1] == said


def test_the_command_says_when_a_study_cannot_teach_it(
    stores: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "watch", "now", "--tracking-uri", stores, "--once") == 2
    assert "no thresholds can be learnt from now" in capsys.readouterr().err
    assert run(monkeypatch, "watch", "--tracking-uri", stores, "--once") == 2
    assert capsys.readouterr().err == f"workbench: no `workbench train` has been run in {stores}\n"
