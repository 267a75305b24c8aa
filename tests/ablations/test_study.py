"""Study files: what they say is what runs, and every mistake is one sentence with the right name."""

from math import inf
from pathlib import Path
from typing import Any

import pytest

from ablations.plan import make_plan
from ablations.study import Study
from ablations.study_files import load_study, parse_changes, parse_seeds
from workbench.recipes import recipes

GOOD = """
question: q
task: {name: dialogue, quality_alpha: 2}
ppo: {policy_learning_rate: 1e-4}
prepare: {sft: {steps: 3}}
arms:
  vanilla: vanilla
  tight: {recipe: ppo_max, with: {value_clip.clip_range: 1e-1}, without: [reward_norm]}
baseline: vanilla
seeds: 2
"""


def load(folder: Path, text: str, **changes: Any) -> Study:
    path = folder / "study.yaml"
    path.write_text(text)
    return load_study(path, changes)


def test_a_study_is_named_after_its_file_and_resolves_its_arms(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    assert study.name == "study"
    assert study.ppo.policy_learning_rate == 1e-4
    tight = study.recipes["tight"]
    assert tight.name == "tight"
    assert tight.parameters()["value_clip.clip_range"] == 0.1
    assert "reward_norm" not in {trick.name for trick in tight.tricks}


def test_cells_are_paired_seed_by_seed(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    plan = make_plan(study, tracking_uri=None, device="cpu", threads=1, command="")
    assert list(plan.outline.cells) == ["vanilla/s0", "tight/s0", "vanilla/s1", "tight/s1"]


def test_the_command_line_changes_any_key(tmp_path: Path) -> None:
    changes = parse_changes(["ppo.iterations=7", "seeds=[4, 9]", "name=other", "prepare.sft.steps=1e1"])
    study = load(tmp_path, GOOD, **changes)
    assert (study.ppo.iterations, study.seeds, study.name) == (7, [4, 9], "other")
    assert study.prepare.sft.steps == 10


def test_a_mistake_of_the_command_line_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    file = str(tmp_path / "study.yaml")
    with pytest.raises(ValueError) as error:
        load(tmp_path, GOOD, **{"ppo.iterations": "abc"})
    assert str(error.value).startswith(
        f"{file} with ppo.iterations of the command line: ppo.iterations: "
    )
    with pytest.raises(ValueError) as error:
        load(tmp_path, GOOD.replace("question", "qestion"), **{"ppo.iterations": 3})
    assert str(error.value).startswith(f"{file}: unknown key 'qestion'")


@pytest.mark.parametrize(("text", "seeds"), [("3", 3), ("0,3", [0, 3]), ("3,", [3])])
def test_a_trailing_comma_makes_a_list_of_one_seed(text: str, seeds: int | list[int]) -> None:
    assert parse_seeds(text) == seeds
    with pytest.raises(ValueError, match="`--seeds 3,` is seed 3 alone"):
        parse_seeds(f",{text}")


def test_infinity_survives_writing_and_reading(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD.replace("1e-1", ".inf"))
    assert study.recipes["tight"].parameters()["value_clip.clip_range"] == inf


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ("question", "qestion", "unknown key 'qestion'; did you mean 'question'?"),
        ("steps", "stps", "unknown key 'stps' in prepare.sft; did you mean 'steps'?"),
        ("with:", "wth:", "unknown key 'wth' in arms.tight; did you mean 'with'?"),
        (
            "recipe: ppo_max",
            "recpe: ppo_max",
            "unknown key 'recpe' in arms.tight; did you mean 'recipe'?",
        ),
        ("vanilla: vanilla", "vanilla: vanila", "arm vanilla: unknown recipe 'vanila'; did you mean"),
        (
            "value_clip.",
            "value_clp.",
            "arm tight: unknown trick 'value_clp'; did you mean 'value_clip'?",
        ),
        ("clip_range", "clip_rnge", "unknown hyper-parameter 'clip_rnge' in trick value_clip; did you"),
        ("1e-1", "-1", "arm tight: value_clip.clip_range must be above 0, got -1.0"),
        ("1e-1", "wide", "arm tight: value_clip.clip_range must be a number, got 'wide'"),
        ("[reward_norm]", "[reward_nrm]", "arm tight: unknown trick 'reward_nrm' in recipe ppo_max"),
        ("[reward_norm]", "[value_clip]", "value_clip stands both in 'with' and in 'without'"),
        (
            "{value_clip.clip_range: 1e-1}",
            "{token_mean: true, sequence_mean: true}",
            "token_mean and sequence_mean exclude each other (group aggregation); keep one of them",
        ),
        (
            "{value_clip.clip_range: 1e-1}",
            "{experience_buffer.responses: 33}",
            "experience_buffer.responses must divide the rollout size 128, got 33",
        ),
        (
            "{value_clip.clip_range: 1e-1}",
            "{value_clip: 3}",
            "says no field; write 'value_clip.<field>'",
        ),
        ("baseline: vanilla", "baseline: vanila", "unknown baseline 'vanila'; did you mean 'vanilla'?"),
        ("name: dialogue", "name: dialoge", "unknown task 'dialoge'; did you mean 'dialogue'?"),
        ("quality_alpha", "quality_alpa", "task dialogue: unknown key 'quality_alpa'; did you mean"),
        ("quality_alpha: 2", "quality_alpha: -2", "quality_alpha: it should be greater than 0, got -2"),
        ("seeds: 2", "seeds: 0", "it should be a number of seeds, or a list of them, got 0"),
        ("seeds: 2", "seeds: [1, 1]", "seeds must be distinct and not negative, got [1, 1]"),
        ("question: q", "question: [q", "study.yaml:3: "),
        ("  vanilla: vanilla", "\tvanilla: vanilla", "; indent with spaces, not with tabs"),
        ("question: q", "seeds: 3", "study.yaml:10: 'seeds' is given twice"),
        ("tight:", "../tight:", "arms.../tight: it should begin with a letter or a digit, and have"),
        ("question: q", "name: a/b", "study.yaml: name: it should begin with a letter or a digit"),
        ("question: q", "collapse: 3", "collapse: it should be 'key: value' lines, got 3"),
        ("quality_alpha: 2", "quality_alpha: two", "quality_alpha: it should be a number, got 'two'"),
        ("{steps: 3}", "{steps: three}", "prepare.sft.steps: it should be a whole number, got 'three'"),
        ("{steps: 3}", "{steps: 3.5}", "prepare.sft.steps: it should be a whole number, got 3.5"),
        (
            "value_clip.clip_range: 1e-1",
            "value_clip.clip_range: [1]",
            "with.value_clip.clip_range: it should be true or false or a whole number or a number or a"
            " word, got [1]",
        ),
        (
            "{sft: {steps: 3}}",
            "{reward_model: {seed: all}}",
            "prepare.reward_model.seed: it should be a whole number or 'run', got 'all'",
        ),
        ("seeds: 2", "seeds: []", "seeds: it should not be empty, got []"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, right: str, wrong: str, sentence: str) -> None:
    assert right in GOOD
    with pytest.raises(ValueError) as error:
        load(tmp_path, GOOD.replace(right, wrong, 1))
    assert str(error.value).startswith(str(tmp_path / "study.yaml"))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_two_arms_of_one_recipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="arms vanilla and again are the same recipe"):
        load(tmp_path, "arms: {vanilla: vanilla, again: vanilla}")


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").touch()
    with pytest.raises(FileNotFoundError, match=r"did you mean '.*quickstart\.yaml'"):
        load_study(tmp_path / "quikstart.yaml")


@pytest.mark.parametrize("file", sorted(Path("ablations").rglob("*.yaml")), ids=str)
def test_every_study_that_comes_with_the_project_is_sound(file: Path) -> None:
    assert load_study(file).recipes


def test_the_study_of_recipes_compares_every_published_one() -> None:
    study = load_study(Path(__file__).parents[2] / "ablations" / "studies" / "recipes.yaml")
    assert {name: arm.recipe for name, arm in study.arms.items()} == {name: name for name in recipes()}
