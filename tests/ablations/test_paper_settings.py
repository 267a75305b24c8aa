"""The paper's studies under other settings: the same arms and first seeds, on what they change."""

from pathlib import Path

import pytest

from ablations.paper.settings import SETTINGS
from ablations.paper.studies import CARRIED, LADDER, ORDER, paper_studies
from ablations.study import Study
from analysis.paper.results import kept
from workbench.tasks import make_task, task_settings
from workbench.tasks.preferences import PreferencesSettings, PreferencesTask

ROOT = Path(__file__).parents[2]
OTHERS = [name for name in SETTINGS if name]


def by_name(setting: str) -> dict[str, Study]:
    return {study.name.partition(".")[0]: study for study in paper_studies(setting)}


def human() -> dict[str, PreferencesSettings]:
    found = {name: task_settings(study.task) for name, study in by_name("hh").items()}
    return {name: own for name, own in found.items() if isinstance(own, PreferencesSettings)}


@pytest.mark.parametrize("setting", OTHERS)
def test_a_setting_keeps_arms_first_seeds_and_iterations_of_the_studies_it_repeats(setting: str) -> None:
    own, first = by_name(setting), by_name("")
    assert list(own) == [name for name in ORDER if name in (*CARRIED, *LADDER)]
    for name, study in own.items():
        assert study.name == f"{name}.{setting}"
        assert study.recipes == first[name].recipes
        assert study.seeds == first[name].seeds[: len(study.seeds)]
        assert study.baseline == first[name].baseline
        assert study.ppo.iterations == first[name].ppo.iterations
        assert study.prepare.reward_model.seed == first[name].prepare.reward_model.seed


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_kept_verdicts_are_of_the_seeds_that_the_command_beside_them_runs(setting: str) -> None:
    seeds = {seed for study in paper_studies(setting) for seed in study.seeds}
    file = ROOT / "docs/paper" / (f"verdicts.{setting}.json" if setting else "verdicts.json")
    assert set(kept(file)["seeds"]) == seeds


@pytest.mark.parametrize("setting", OTHERS)
def test_a_setting_lends_runs_of_its_own_from_studies_that_come_before(setting: str) -> None:
    before: set[str] = set()
    for study in paper_studies(setting):
        assert {address.partition("/")[0] for address in study.lent.values()} <= before
        before.add(study.name)


def test_all_settings_change_the_task_or_the_models() -> None:
    first = by_name("")["figure_04"]
    for setting in OTHERS:
        own = by_name(setting)["figure_04"]
        assert (own.task, own.prepare) != (first.task, first.prepare)


def test_one_study_of_a_setting_leaves_the_others_as_they_are() -> None:
    assert paper_studies("hh") == paper_studies("hh")
    pairs = {name: own.preference_pairs for name, own in human().items()}
    assert [pairs[name] for name in ("reward_model_few_pairs", *LADDER[:1])] == [58, 230]
    assert {pairs[name] for name in (*CARRIED, "reward_model_many_pairs")} == {None}


def test_the_judge_of_human_preferences_is_larger_than_the_reward_model() -> None:
    for name, study in by_name("hh").items():
        judge = human()[name].judge
        assert judge is not None
        assert judge.policy.width > study.prepare.policy.width


def test_every_setting_takes_changes_on_top_of_its_own() -> None:
    for setting in SETTINGS:
        for study in paper_studies(setting, {"seeds": 2, "ppo.iterations": 6}):
            assert (study.seeds, study.ppo.iterations) == ([0, 1], 6)


@pytest.mark.skipif(
    not (ROOT / "../shared/data/hh-rlhf").is_dir(),
    reason="HH-RLHF lies beside the repository only where somebody put it",
)
def test_human_preferences_are_split_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    task = make_task(by_name("hh")["figure_04"].task)
    assert isinstance(task, PreferencesTask) and task.judge_plan is not None
    judges = task.judge_plan.task.preferences(lambda prompts, seed: [])
    pairs = task.preferences(lambda prompts, seed: [])
    assert (
        sum(map(len, (pairs.train, pairs.held_out, judges.train))) + sum(task.dropped.values()) == 2312
    )
    assert min(len(pairs.train), len(judges.train)) > 900 and len(pairs.held_out) > 300
