"""The design of a study as its tag says it, in the forms in which studies are written."""

from typing import Any

import numpy as np

from analysis import effects
from analysis.designs import factorial
from analysis.designs.design import Change, Design, design_of
from analysis.runs import Study
from tests.analysis.made_study import made_study

GOLD = "final/gold"


def study_of(design: dict[str, Any], **params: dict[str, str]) -> Study:
    arms = list(design.get("levels") or params)
    values = np.arange(5.0)[:, None] + np.arange(len(arms))
    return made_study({GOLD: values}, arms, design=design, params=params)


def test_a_study_without_a_design_has_named_arms(study: Study) -> None:
    assert design_of(study) == Design()


def test_one_and_zero_mean_on_and_off_for_a_trick_and_are_numbers_for_a_field() -> None:
    levels = {"base": [1, 1], "other": [0, 0]}
    found = design_of(study_of({"kind": "grid", "factors": ["clip", "ppo.epochs"], "levels": levels}))
    assert found.levels == {"base": (True, 1), "other": (False, 0)}
    assert found.levels["other"][0] is False and found.levels["other"][1] is not False


def test_the_first_level_is_off_or_else_the_recipes() -> None:
    levels = {"base": [1, 0.1, "a"], "x": [0, 0.0, "b"]}
    factors = ["clip", "kl.weight", "group"]
    found = design_of(study_of({"kind": "grid", "recipe": "base", "factors": factors, "levels": levels}))
    firsts = [found.levels_of(name, ["x", "base"])[0] for name in factors]
    assert firsts == [False, 0.1, "a"]
    assert found.signs(factors, ["x", "base"]).tolist() == [[-1, 1, 1], [1, -1, -1]]


def test_a_recipe_that_is_no_arm_stands_for_the_first_arm() -> None:
    design = {"kind": "add_one_in", "recipe": "vanilla", "factors": ["clip"]}
    found = design_of(study_of(design | {"levels": {"mine": [0], "mine+clip": [1]}}))
    assert found.recipe == "mine"
    assert found.trick_changes == [Change("mine+clip", "clip", is_left_out=False)]


def test_a_trick_that_goes_with_one_that_needs_it_is_a_row_of_both() -> None:
    levels = {"full": [1, 1, 1], "full-a-b": [0, 0, 1], "full-b": [1, 0, 1], "full-c": [1, 1, 0]}
    design = {"kind": "leave_one_out", "recipe": "full", "factors": ["a", "b", "c"], "levels": levels}
    table = effects.forest(study_of(design), GOLD)
    assert table["trick"].tolist() == ["a, b", "b", "c"]
    assert table["effect"].tolist() == [-1.0, -2.0, -3.0]


def test_levels_that_the_tag_had_no_room_for_are_read_from_the_parameters() -> None:
    params = {
        "a": {"trick.kl": "true", "kl.weight": "0.1"},
        "b": {"trick.kl": "true", "kl.weight": "0.2"},
        "c": {},
    }
    design = {"kind": "grid", "recipe": "a", "factors": ["kl", "kl.weight"], "levels": {}}
    found = design_of(study_of(design, **params))
    assert found.levels == {"a": (True, 0.1), "b": (True, 0.2), "c": (False, None)}


def test_levels_that_are_nowhere_leave_the_tables_empty_and_are_said() -> None:
    study = study_of({"kind": "grid", "factors": ["group"], "levels": {}}, a={"trick.kl": "true"})
    assert len(factorial.main_effects(study, GOLD)) == 0
    assert factorial.notes(study) == [
        "What the arms' factors are is not written down, so that no effects are given."
    ]


def test_a_field_whose_trick_is_absent_is_a_level_of_its_own() -> None:
    levels = {"base": [0.1], "more": [0.2], "none": [None]}
    design = {"kind": "grid", "recipe": "base", "factors": ["kl.weight"], "levels": levels}
    table = factorial.main_effects(study_of(design), GOLD)
    assert table["factor"].tolist() == ["kl.weight = 0.2", "kl.weight = absent"]
    np.testing.assert_allclose(table["effect"], [1.0, 2.0], rtol=1e-9)
