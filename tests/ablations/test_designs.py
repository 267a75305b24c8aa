"""Designs: which arms they generate, under which names, and what stays when they grow."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.designs.draws import draw_value
from ablations.designs.factors import recipe_tricks
from ablations.designs.facts import design_facts, design_lines
from ablations.designs.kinds import KINDS
from ablations.folder import StudyFolder
from ablations.plan import ChangedStudyError, agree, compare, make_plan, require_plan
from ablations.runner import study_tag
from ablations.search_space import parameters, varied_tricks
from ablations.study import Study
from ablations.study_files import make_study
from tests.ablations.toy import run_here, toy
from workbench.recipe import Recipe
from workbench.recipes import find_recipe, recipes
from workbench.tracking.store import EXPERIMENT_TAG_LIMIT
from workbench.tricks import TEXTBOOK, built_in
from workbench.yaml_files import parse_yaml

EIGHT = [
    "critic_from_reward_model", "reward_norm", "reward_clip", "token_kl_penalty",
    "value_clip", "ppo_ptx", "global_gradient_clip", "critic_pretraining",
]  # fmt: skip
TWELVE = [*EIGHT, "entropy_bonus", "learning_rate_warmup", "ppo_epochs", "min_length"]
SETTINGS = {"tracking_uri": None, "device": "cpu", "threads": 1, "command": "workbench ablate x.yaml"}


def study(
    kind: str, recipe: str = "ppo_max", others: dict[str, Any] | None = None, **keys: Any
) -> Study:
    """Return a study with a design; `others` are the study's other keys."""
    content = {"name": "x", "design": {"kind": kind, "recipe": recipe, **keys}, **(others or {})}
    return make_study(content, "x.yaml")


def facts(made: Study) -> dict[str, Any]:
    """Return the facts of a study that has a design."""
    found = design_facts(made)
    assert found is not None
    return found


def fingerprints(made: Study) -> dict[str, str]:
    return {arm: recipe.fingerprint() for arm, recipe in made.recipes.items()}


# Leave one out


def test_leave_one_out_takes_each_trick_from_ppo_max_that_can_go() -> None:
    made = study("leave_one_out")
    assert list(made.arms) == ["ppo_max", *(f"ppo_max-{name}" for name in EIGHT)]
    own = find_recipe("ppo_max")
    assert made.recipes["ppo_max"].fingerprint() == own.fingerprint()
    for name in EIGHT:
        assert made.recipes[f"ppo_max-{name}"].fingerprint() == own.without(name).fingerprint()
    assert made.baseline == "ppo_max"


def test_leaving_out_a_trick_leaves_out_what_needs_it_and_the_name_says_so() -> None:
    made = study("leave_one_out", "grpo", tricks=["responses_per_prompt", "grpo"])
    assert list(made.arms) == ["grpo", "grpo-responses_per_prompt-grpo", "grpo-grpo"]
    assert facts(made)["levels"] == {
        "grpo": [1, 1],
        "grpo-responses_per_prompt-grpo": [0, 0],
        "grpo-grpo": [1, 0],
    }
    assert "gae" in recipe_tricks(made.recipes["grpo-responses_per_prompt-grpo"])


@pytest.mark.parametrize("name", recipes())
def test_every_published_recipe_can_be_taken_apart(name: str) -> None:
    made = study("leave_one_out", name)
    assert len(made.arms) == 1 + len(set(recipe_tricks(find_recipe(name))) - set(TEXTBOOK))


# Add one in


def test_add_one_in_adds_what_another_recipe_has_as_that_recipe_sets_it() -> None:
    made = study("add_one_in", "vanilla", **{"from": "moss_rlhf_en"})
    theirs = find_recipe("moss_rlhf_en")
    lacking = [n for n in recipe_tricks(theirs) if n not in recipe_tricks(find_recipe("vanilla"))]
    assert list(made.arms) == ["vanilla", *(f"vanilla+{name}" for name in lacking)]
    for name in lacking:
        own = {trick.name: trick.hypers() for trick in made.recipes[f"vanilla+{name}"].tricks}
        assert own[name] == {trick.name: trick.hypers() for trick in theirs.tricks}[name]
    weight = made.recipes["vanilla+token_kl_penalty"].parameters()["token_kl_penalty.weight"]
    assert weight == 0.01  # 0.05 by default


def test_adding_a_trick_adds_what_it_needs_and_matches_what_it_must() -> None:
    made = study("add_one_in", "vanilla", tricks=["grpo", "dual_clip"])
    assert list(made.arms) == ["vanilla", "vanilla+grpo+responses_per_prompt", "vanilla+dual_clip"]
    matched = study("add_one_in", "ppo_max", tricks=["score_after_end"]).recipes[
        "ppo_max+score_after_end"
    ]
    values = matched.parameters()
    assert values["score_after_end.trace"] == values["gae.trace"] == 0.9  # 0.95 by default


# Pairs


def test_pairwise_changes_each_trick_alone_and_each_two_together() -> None:
    made = study("pairwise", tricks=["value_clip", "dual_clip", "reward_norm"])
    assert list(made.arms) == [
        "ppo_max",
        "ppo_max-value_clip",
        "ppo_max+dual_clip",
        "ppo_max-reward_norm",
        "ppo_max-value_clip+dual_clip",
        "ppo_max-value_clip-reward_norm",
        "ppo_max+dual_clip-reward_norm",
    ]
    assert facts(made)["levels"]["ppo_max+dual_clip-reward_norm"] == [1, 1, 0]


def test_a_pair_that_is_one_of_its_tricks_alone_is_left_out_and_said() -> None:
    made = study("pairwise", "grpo", tricks=["responses_per_prompt", "grpo"])
    assert list(made.arms) == ["grpo", "grpo-responses_per_prompt-grpo", "grpo-grpo"]
    said = "left out, as the recipe is there already: grpo-responses_per_prompt-grpo-grpo (as grpo-resp"
    assert any(said in line for line in design_lines(made))


# Grids


def test_a_grid_is_in_the_order_of_nested_loops() -> None:
    values = {"token_kl_penalty.weight": [0.05, 0.1], "value_clip": [True, False], "gae.trace": [1, 0.9]}
    made = study("grid", values=values)
    # ppo_max itself has weight 0.05, value_clip and trace 0.9; three changes are given by number
    assert list(made.arms) == [
        "ppo_max+gae.trace_1",
        "ppo_max",
        "ppo_max-value_clip+gae.trace_1",
        "ppo_max-value_clip",
        "ppo_max+token_kl_penalty.weight_0.1+gae.trace_1",
        "ppo_max+token_kl_penalty.weight_0.1",
        "ppo_max.1_2.2.3_1",
        "ppo_max+token_kl_penalty.weight_0.1-value_clip",
    ]
    assert facts(made)["levels"]["ppo_max.1_2.2.3_1"] == [0.1, 0, 1.0]
    assert made.baseline == "ppo_max"


def test_a_field_counts_only_where_its_trick_is_there() -> None:
    values = {"token_kl_penalty": [False, True], "token_kl_penalty.weight": [0.01, 0.1]}
    made = study("grid", "vanilla", values=values)
    by_weight = [f"vanilla+token_kl_penalty.weight_{weight}" for weight in (0.01, 0.1)]
    assert list(made.arms) == ["vanilla", *by_weight]
    assert facts(made)["levels"] == {
        "vanilla": [0, None],
        by_weight[0]: [1, 0.01],
        by_weight[1]: [1, 0.1],
    }


def test_a_grid_over_a_group_chooses_one_of_its_tricks_or_none() -> None:
    made = study("grid", values={"reward_normaliser": ["none", "reward_norm", "reward_scaling"]})
    assert list(made.arms) == ["ppo_max-reward_norm", "ppo_max", "ppo_max+reward_scaling"]
    assert [levels[0] for levels in facts(made)["levels"].values()] == [
        "none", "reward_norm", "reward_scaling",
    ]  # fmt: skip
    assert "reward_norm" not in recipe_tricks(made.recipes["ppo_max+reward_scaling"])


def test_a_grid_without_the_recipe_itself_has_no_baseline_of_its_own() -> None:
    assert study("grid", "vanilla", values={"dual_clip.ratio_cap": [2, 3]}).baseline is None


# Factorials


def test_a_factorial_crosses_tricks_values_and_choices() -> None:
    factors = ["value_clip", {"gae.trace": [0.9, 1.0]}, {"policy_loss": ["clip_higher", "dual_clip"]}]
    made = study("factorial", factors=factors)
    found = facts(made)
    assert found["factors"] == ["value_clip", "gae.trace", "policy_loss"]
    # the recipe's own level first, or the first level where neither is; the last factor fastest
    assert list(found["levels"].values()) == [
        [1, 0.9, "clip_higher"],
        [1, 0.9, "dual_clip"],
        [1, 1.0, "clip_higher"],
        [1, 1.0, "dual_clip"],
        [0, 0.9, "clip_higher"],
        [0, 0.9, "dual_clip"],
        [0, 1.0, "clip_higher"],
        [0, 1.0, "dual_clip"],
    ]
    assert (found["resolution"], found["aliases"]) == (None, [])


def test_factors_may_be_called_tricks() -> None:
    one, other = study("factorial", tricks=EIGHT[:3]), study("factorial", factors=EIGHT[:3])
    assert fingerprints(one) == fingerprints(other)


def test_the_half_fraction_of_four_tricks_is_worked_by_hand() -> None:
    made = study("fractional_factorial", factors=EIGHT[:4], resolution=4)
    one, two, three, four = EIGHT[:4]
    # d = abc, present = +: an even number of tricks is absent in each arm, from none to all four
    assert facts(made) == {
        "kind": "fractional_factorial",
        "recipe": "ppo_max",
        "factors": EIGHT[:4],
        "levels": {
            "ppo_max": [1, 1, 1, 1],
            f"ppo_max-{three}-{four}": [1, 1, 0, 0],
            f"ppo_max-{two}-{four}": [1, 0, 1, 0],
            f"ppo_max-{two}-{three}": [1, 0, 0, 1],
            f"ppo_max-{one}-{four}": [0, 1, 1, 0],
            f"ppo_max-{one}-{three}": [0, 1, 0, 1],
            f"ppo_max-{one}-{two}": [0, 0, 1, 1],
            "ppo_max.1.2.3.4": [0, 0, 0, 0],
        },
        "resolution": 4,
        "aliases": [
            f"{one}:{two} = {three}:{four}",
            f"{one}:{three} = {two}:{four}",
            f"{one}:{four} = {two}:{three}",
        ],
    }


def test_a_fraction_around_a_recipe_that_lacks_its_tricks_holds_the_recipe_too() -> None:
    made = study(
        "fractional_factorial", "vanilla", factors=["reward_clip", "dual_clip", "top_k"], resolution=3
    )
    # own level = absent, so −: c = ab there becomes c = −ab in terms of present and absent
    assert facts(made)["levels"] == {
        "vanilla": [0, 0, 0],
        "vanilla+dual_clip+top_k": [0, 1, 1],
        "vanilla+reward_clip+top_k": [1, 0, 1],
        "vanilla+reward_clip+dual_clip": [1, 1, 0],
    }
    assert facts(made)["aliases"][0] == "reward_clip = -dual_clip:top_k"


def test_the_lines_explain_the_half_fraction() -> None:
    made = study("fractional_factorial", factors=EIGHT[:4], resolution=4, others={"seeds": 3})
    assert design_lines(made) == [
        "design fractional_factorial of ppo_max: what does each factor do, from a part of all"
        " combinations?",
        "   1 critic_from_reward_model  absent | present",
        "   2 reward_norm               absent | present",
        "   3 reward_clip               absent | present",
        "   4 token_kl_penalty          absent | present",
        "  8 of 16 combinations, resolution 4: main effects are apart from each other and from pairs of"
        " factors, pairs not from each other",
        "  these cannot be told apart (1:2 is what 1 and 2 do only together):",
        "    1:2 = 3:4",
        "    1:3 = 2:4",
        "    1:4 = 2:3",
        "  8 arms × 3 seeds = 24 runs; compared with ppo_max",
        "",
    ]


def test_too_few_factors_for_a_resolution_are_run_in_full_and_said() -> None:
    made = study("fractional_factorial", factors=EIGHT[:3], resolution=5)
    assert len(made.arms) == 8
    assert facts(made)["resolution"] is None
    assert any("all 8 combinations" in line for line in design_lines(made))


def test_the_dry_run_prints_the_design(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ablations import runner
    from workbench.commands import running

    monkeypatch.setattr(runner, "dry_run", lambda *_: ([], None))
    made = study("leave_one_out")
    running._dry_run(made, Path("nowhere"), runner.Options(workers=1))
    assert "\n".join(design_lines(made)) in capsys.readouterr().out


# Random recipes


def test_random_recipes_are_different_runnable_and_the_same_every_time() -> None:
    made = study("random", tricks=TWELVE, count=30, seed=1)
    assert list(made.arms) == ["ppo_max", *(f"ppo_max.random_{n}" for n in range(1, 31))]
    assert len(set(fingerprints(made).values())) == 31
    assert fingerprints(made) == fingerprints(study("random", tricks=TWELVE, count=30, seed=1))
    other = study("random", tricks=TWELVE, count=30, seed=2)
    assert len({*fingerprints(made).values(), *fingerprints(other).values()}) == 61
    present = [sum(levels[i] for levels in facts(made)["levels"].values()) for i in range(12)]
    assert all(5 <= often <= 26 for often in present)  # of 31 arms, each in about half


def test_random_recipes_hold_one_trick_of_a_group_and_divide_the_rollout() -> None:
    tricks = ["clip_higher", "dual_clip", "experience_buffer", "minibatches", "gae", "score_after_end"]
    made = study("random", "vanilla", tricks=tricks, count=40, others={"ppo": {"rollout_size": 64}})
    held = [set(recipe_tricks(recipe)) for recipe in made.recipes.values()]
    losses = [names & {"clip_higher", "dual_clip", "clipped_surrogate"} for names in held]
    assert all(len(loss) == 1 for loss in losses)
    assert len({loss.pop() for loss in losses}) == 3
    values = [recipe.parameters() for recipe in made.recipes.values()]
    sizes = {
        own["experience_buffer.responses"] for own in values if "experience_buffer.responses" in own
    }
    assert sizes <= {16, 32, 64} and len(sizes) > 1
    pairs = [
        (own["score_after_end.trace"], own["gae.trace"])
        for own in values
        if "score_after_end.trace" in own
    ]
    assert len(set(pairs)) > 5 and all(one == other for one, other in pairs)


@given(name=st.sampled_from(sorted(built_in())), seed=st.integers(0, 10**6))
def test_every_draw_lies_in_the_search_range(name: str, seed: int) -> None:
    chance = random.Random(seed)
    usual = built_in()[name]().hypers()
    for spec in built_in()[name].hyper_fields():
        own = spec.metadata["hyper"]
        value = draw_value(own, usual[spec.name], chance)
        assert own.complaint(value) is None
        assert type(value) is type(usual[spec.name])
        assert own.search is None or own.search[0] <= value <= own.search[1]


# Growing


GROWTH = [
    ("leave_one_out", {"tricks": EIGHT[:2]}, {"tricks": EIGHT}),
    ("leave_one_out", {"tricks": EIGHT[3:5]}, {}),
    ("add_one_in", {"tricks": ["dual_clip"]}, {"tricks": ["top_k", "dual_clip"]}),
    ("pairwise", {"tricks": EIGHT[:2]}, {"tricks": EIGHT[:4]}),
    ("grid", {"values": {"gae.trace": [1, 0.9]}}, {"values": {"gae.trace": [1, 0.9, 0.8]}}),
    (
        "grid",
        {"values": {"gae.trace": [1, 0.8], "value_clip": [False], "top_k.k": [5, 9]}},
        {"values": {"gae.trace": [1, 0.8, 0.7], "value_clip": [False], "top_k.k": [5, 9, 20]}},
    ),
    (
        "grid",
        {"values": {"gae.trace": [1, 0.9]}},
        {"values": {"gae.trace": [1, 0.9], "top_k": [False, True]}},
    ),
    ("factorial", {"factors": EIGHT[:4]}, {"factors": EIGHT[:5]}),
    ("random", {"tricks": EIGHT, "count": 10}, {"tricks": EIGHT, "count": 25}),
]


@pytest.mark.parametrize(("kind", "before", "after"), GROWTH)
def test_a_design_grows_without_touching_what_it_had(
    tmp_path: Path, kind: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    old = study(kind, **before, others={"seeds": 2})
    new = study(kind, **after, others={"seeds": 4})
    assert fingerprints(old).items() < fingerprints(new).items()
    folder = StudyFolder(tmp_path, "x")
    agree(folder, make_plan(old, **SETTINGS))
    grown = compare(folder, make_plan(new, **SETTINGS)).outline.cells
    assert grown.keys() > make_plan(old, **SETTINGS).outline.cells.keys()


def test_another_resolution_is_another_study(tmp_path: Path) -> None:
    old, new = (study("fractional_factorial", factors=EIGHT, resolution=r) for r in (4, 5))
    folder = StudyFolder(tmp_path, "x")
    agree(folder, make_plan(old, **SETTINGS))
    with pytest.raises(ChangedStudyError, match=r"arm ppo_max\.\S+ is gone"):
        compare(folder, make_plan(new, **SETTINGS))


def test_what_was_run_is_not_run_again_when_the_design_has_grown(prepared: Path) -> None:
    def grown(tricks: list[str], seeds: int) -> Study:
        design = {"kind": "leave_one_out", "recipe": "ppo_max", "tricks": tricks}
        return toy(arms={}, baseline=None, design=design, seeds=seeds, iterations=1)

    first = {status.cell.name: status.run_id for status in run_here(grown(EIGHT[4:5], 1), prepared)}
    then = run_here(grown(EIGHT[3:5], 2), prepared)
    after = {status.cell.name: status.run_id for status in then}
    assert set(first) == {"ppo_max/s0", "ppo_max-value_clip/s0"}
    assert first.items() < after.items() and len(set(after.values())) == 6
    assert {status.state for status in then} <= {"ok", "collapsed"}


@pytest.mark.parametrize(("kind", "keys"), [(kind, keys) for kind, keys, _ in GROWTH])
def test_a_study_that_was_begun_is_read_back_with_its_design(
    tmp_path: Path, kind: str, keys: dict[str, Any]
) -> None:
    made = study(kind, **keys, others={"arms": {"mine": "vanilla"}})
    folder = StudyFolder(tmp_path, "x")
    agree(folder, make_plan(made, **SETTINGS))
    read = require_plan(folder).study
    assert fingerprints(read) == fingerprints(made)
    assert design_facts(read) == design_facts(made)
    assert read.baseline == made.baseline


# Arms beside a design


def test_every_arm_has_every_seed() -> None:
    made = study("leave_one_out", others={"seeds": [3, 8], "arms": {"vanilla": "vanilla"}})
    cells = [(cell.arm, cell.seed) for cell in make_plan(made, **SETTINGS).outline.cells.values()]
    assert cells == [(arm, seed) for seed in (3, 8) for arm in ("vanilla", *made.expansion.designed)]


def test_an_arm_of_the_file_stands_in_for_its_twin_in_the_design() -> None:
    arms = {"mine": "ppo_max", "loose": {"recipe": "ppo_max", "without": ["value_clip"]}}
    made = study("leave_one_out", tricks=EIGHT[3:5], others={"arms": arms})
    assert list(made.arms) == ["mine", "loose", "ppo_max-token_kl_penalty"]
    assert made.baseline == "mine"
    assert facts(made)["levels"] == {"mine": [1, 1], "ppo_max-token_kl_penalty": [0, 1], "loose": [1, 0]}


def test_a_study_without_a_design_has_no_facts_of_one() -> None:
    made = make_study({"name": "x", "arms": {"vanilla": "vanilla"}}, "x.yaml")
    assert design_facts(made) is None
    assert design_lines(made) == []
    assert study_tag(make_plan(made, **SETTINGS))["design"] is None


def test_the_tag_has_the_settings_that_are_not_the_defaults() -> None:
    content = {"name": "x", "arms": {"vanilla": "vanilla"}, "ppo": {"iterations": 7, "epochs": 1}}
    task, prepare = {"name": "dialogue", "seed": 3}, {"policy": {"width": 32}, "pretrain": {"steps": 5}}
    made = make_study({**content, "task": task, "prepare": prepare}, "x.yaml")
    assert study_tag(make_plan(made, **SETTINGS))["settings"] == {
        "task.seed": 3,
        "prepare.policy.width": 32,
        "prepare.pretrain.steps": 5,
        "ppo.iterations": 7,
    }


# Size


def test_two_hundred_arms_of_twelve_factors_fit_into_the_tag() -> None:
    made = study("random", tricks=TWELVE, count=199, others={"seeds": 50, "question": "q" * 300})
    tag = study_tag(make_plan(made, **SETTINGS))
    assert [len(levels) for levels in tag["design"]["levels"].values()] == [12] * 200
    assert len(json.dumps(tag)) < EXPERIMENT_TAG_LIMIT


def test_a_design_too_large_for_the_tag_leaves_out_its_levels() -> None:
    made = study("fractional_factorial", factors=TWELVE, resolution=5)
    tag = study_tag(make_plan(made, **SETTINGS))
    assert (len(made.arms), tag["design"]["levels"]) == (256, {})
    assert (tag["design"]["factors"], tag["design"]["resolution"]) == (TWELVE, 6)
    assert len(json.dumps(tag)) < EXPERIMENT_TAG_LIMIT


def test_the_work_of_planning_grows_with_the_arms_not_with_their_pairs_or_the_seeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    original = Recipe.__post_init__

    def counted(self: Recipe) -> None:
        made.append(self.name)
        original(self)

    monkeypatch.setattr(Recipe, "__post_init__", counted)
    traces = {"gae.trace": [number / 1000 for number in range(200)]}
    large = study("grid", values=traces, others={"seeds": 50})
    assert len(make_plan(large, **SETTINGS).outline.cells) == 10_000
    assert len(made) <= 5 * 200


def test_what_differs_between_arms_is_what_optuna_is_told() -> None:
    made = study("leave_one_out", tricks=["value_clip", "reward_clip"], others={"seeds": 3})
    varied = varied_tricks(list(made.recipes.values()))
    assert varied == ["reward_clip", "value_clip", "value_mse"]  # the textbook's loss comes back
    assert parameters(made.recipes["ppo_max-value_clip"], 2, varied) == {
        "seed": 2,
        "reward_clip": True,
        "reward_clip.max_abs": 5.0,
        "value_clip": False,
        "value_mse": True,
    }


# Mistakes


@pytest.mark.parametrize(
    ("design", "sentence"),
    [
        ({"kind": "gird"}, "design: unknown kind 'gird'; did you mean 'grid'?"),
        ({"recipe": "ppo_max"}, "design: it should say its kind, one of grid, leave_one_out"),
        ({"kind": "grid", "valus": {}}, "design: grid: unknown key 'valus'; did you mean 'values'?"),
        ({"kind": "leave_one_out", "recipe": "ppo_mx"}, "unknown recipe 'ppo_mx'; did you mean"),
        ({"kind": "leave_one_out", "tricks": ["gae"]}, "gae is the textbook's choice: replace it"),
        ({"kind": "leave_one_out", "tricks": ["top_k"]}, "recipe ppo_max has no top_k; it has: "),
        ({"kind": "leave_one_out", "tricks": ["top_p", "top_p"]}, "tricks: top_p is given twice"),
        ({"kind": "add_one_in"}, "it should say which tricks: 'tricks: [..]', or 'from' and a recipe"),
        ({"kind": "add_one_in", "tricks": ["value_clip"]}, "recipe ppo_max has value_clip already"),
        ({"kind": "add_one_in", "from": "ppo_max"}, "recipe ppo_max has every trick of recipe ppo_max"),
        (
            {"kind": "add_one_in", "from": "grpo", "tricks": ["top_k"]},
            "recipe grpo has no top_k; it has: ",
        ),
        (
            {"kind": "add_one_in", "tricks": ["reinforce"]},
            "arm ppo_max+reinforce: critic_pretraining needs a critic, and reinforce does without one",
        ),
        ({"kind": "grid", "values": {"gae.trace": 1}}, "gae.trace: it should be a list of values"),
        ({"kind": "grid", "values": {"gae": [0.9]}}, "gae: it takes true and false; for values, write"),
        ({"kind": "grid", "values": {"gae.trace": [2]}}, "gae.trace must be at most 1, got 2"),
        ({"kind": "grid", "values": {"gae.trace": [1, 1.0]}}, "gae.trace: 1 is given twice"),
        ({"kind": "grid", "values": {"kl_penlty": ["none"]}}, "did you mean 'kl_penalty'?"),
        ({"kind": "grid", "values": {"policy_loss": ["dual_clp"]}}, "in group policy_loss; did you"),
        (
            {"kind": "grid", "values": {"policy_loss": ["none"]}},
            "group policy_loss cannot be empty: write clipped_surrogate instead of none",
        ),
        (
            {"kind": "factorial", "factors": ["dual_clip", "clip_higher"]},
            "dual_clip and clip_higher exclude each other (group policy_loss); keep one of them, or",
        ),
        (
            {"kind": "pairwise", "recipe": "vanilla", "tricks": ["reward_norm", "reward_scaling"]},
            "reward_norm and reward_scaling exclude each other (group reward_normaliser)",
        ),
        (
            {"kind": "factorial", "recipe": "vanilla", "factors": ["grpo", "responses_per_prompt"]},
            "grpo and responses_per_prompt cannot be varied independently",
        ),
        (
            {"kind": "factorial", "factors": ["icepop", "behaviour_ratio"]},
            "icepop and behaviour_ratio cannot be together; leave one of them out",
        ),
        (
            {"kind": "factorial", "factors": ["value_clip", {"value_clip.clip_range": [0.1, 0.2]}]},
            "value_clip.clip_range and value_clip cannot be crossed",
        ),
        (
            {"kind": "factorial", "factors": [{"gae.trace": [0, 0.5, 1]}]},
            "trace: a factor has two levels",
        ),
        ({"kind": "factorial", "factors": ["top_k", "top_k"]}, "factors: top_k is given twice"),
        ({"kind": "factorial", "factors": [3]}, "a factor is a trick, or 'trick.field: [low, high]'"),
        ({"kind": "factorial", "factors": [*TWELVE, "top_k"]}, "8,192 arms are more than the 4,096"),
        (
            {"kind": "fractional_factorial", "factors": EIGHT, "resolution": 6},
            "resolution: it should be 3, 4 or 5, got 6",
        ),
        (
            {"kind": "random", "tricks": ["skip_nonfinite_gradients"], "count": 2},
            "1 different recipes were found and 2 asked for",
        ),
    ],
)
def test_a_mistake_in_a_design_is_one_sentence(design: dict[str, Any], sentence: str) -> None:
    content = design if "kind" not in design else {"recipe": "ppo_max", **design}
    with pytest.raises(ValueError) as error:
        make_study({"name": "x", "design": content}, "x.yaml")
    assert str(error.value).startswith("x.yaml: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_every_design_on_the_page_is_sound() -> None:
    page = (Path(__file__).parents[2] / "docs" / "designs.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.S)
    kinds = [made.design.kind for made in map(written_study, blocks) if made.design]
    assert set(kinds) == set(KINDS)


def written_study(text: str) -> Study:
    return make_study({"name": "x", **parse_yaml(text, "docs/designs.md")}, "docs/designs.md")


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="arm ppo_max comes with the design; drop it from 'arms'"):
        study("leave_one_out", others={"arms": {"ppo_max": "ppo_max"}})


def test_a_study_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x\.yaml: it compares nothing: give it 'arms', or a 'design'"):
        make_study({"name": "x"}, "x.yaml")


def test_a_trial_is_told_the_fields_that_differ_between_arms_and_no_others() -> None:
    made = study("grid", recipe="ppo_max", values={"value_clip.clip_range": [0.1, 0.2]})
    plan = make_plan(made, **SETTINGS)
    [one, other] = [plan.trial(cell) for cell in plan.outline.cells.values() if cell.seed == 0]
    assert set(one.params) == {"seed", "value_clip", "value_clip.clip_range"}
    assert {trial.params["value_clip.clip_range"] for trial in (one, other)} == {0.1, 0.2}
