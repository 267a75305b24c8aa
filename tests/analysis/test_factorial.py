from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from analysis.designs import factorial
from analysis.designs.aliasing import aliasing, declared, disagreement
from analysis.designs.contrasts import POOLED, SEEDS
from analysis.runs import Study
from tests.analysis.made_study import made_study

GOLD = "final/gold"
Levels = dict[str, list[Any]]


def full(k: int) -> Levels:
    """All sets of k tricks, each arm named by its switches."""
    return {"".join("01"[x] for x in on): list(on) for on in product((False, True), repeat=k)}


def half() -> Levels:
    """The half fraction d = abc: main effects are clear, pairs are confounded in pairs."""
    return {name: [*on, sum(on) % 2 == 1] for name, on in full(3).items()}


def study_of(
    levels: Levels,
    means: Sequence[float],
    *,
    kind: str = "factorial",
    seeds: int = 5,
    noise: float = 0.0,
) -> Study:
    """A study in which arm a ends at means[a], seeds shift all arms alike, and noise is added."""
    rng = np.random.default_rng(0)
    factors = ["a", "b", "c", "d"][: len(next(iter(levels.values())))]
    values = (
        np.array(means)[None]
        + rng.normal(size=(seeds, 1))
        + noise * rng.normal(size=(seeds, len(means)))
    )
    recipe = list(levels)[-1]
    design = {"kind": kind, "recipe": recipe, "factors": factors, "levels": levels}
    return made_study({GOLD: values}, list(levels), design=design)


def outcome(levels: Levels) -> list[float]:
    """1 for a, ½ for b, and 2 more for both together."""
    return [1.0 * a + 0.5 * b + 2.0 * (a and b) for a, b, *_ in levels.values()]


def test_main_effects_of_a_full_factorial_are_differences_of_means() -> None:
    # y = a + ½ b + 2 ab: a on average over b 1 + 2·½ = 2, b ½ + 1 = 1.5, c 0
    table = factorial.main_effects(study_of(full(3), outcome(full(3))), GOLD)
    assert table["factor"].tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(table["effect"], [2.0, 1.5, 0.0], atol=1e-12)
    assert (table["aliases"] == "").all() and (table["n"] == 5).all()


def test_an_interaction_is_how_much_one_changes_the_effect_of_the_other() -> None:
    table = factorial.interactions(study_of(full(3), outcome(full(3))), GOLD)
    pairs = list(zip(table["factor_a"], table["factor_b"], strict=True))
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    np.testing.assert_allclose(table["effect"], [2.0, 0.0, 0.0], atol=1e-12)


def test_a_half_fraction_says_which_pairs_it_cannot_tell_apart() -> None:
    table = factorial.interactions(study_of(half(), outcome(half()), kind="fractional_factorial"), GOLD)
    said = {f"{r['factor_a']}:{r['factor_b']}": r["aliases"] for _, r in table.iterrows()}
    assert said == {"a:b": "c:d", "a:c": "b:d", "a:d": "b:c", "b:c": "a:d", "b:d": "a:c", "c:d": "a:b"}
    main = factorial.main_effects(study_of(half(), outcome(half())), GOLD)
    assert (main["aliases"] == "").all()
    np.testing.assert_allclose(main["effect"], [2.0, 1.5, 0.0, 0.0], atol=1e-12)


def test_what_cannot_be_told_apart_counts_once_for_holm() -> None:
    table = factorial.interactions(study_of(half(), outcome(half()), noise=0.1, seeds=6), GOLD)
    best = table["p"].idxmin()
    # six pairs are three classes: the least p is multiplied by 3
    np.testing.assert_allclose(table["p_holm"][best], 3 * table["p"][best], rtol=1e-12)
    assert table["p_holm"].nunique() <= 3


def test_a_pair_that_is_a_main_effect_has_no_number_and_says_so() -> None:
    third = {name: [*on, on[0] == on[1]] for name, on in full(2).items()}  # c = ab
    table = factorial.interactions(study_of(third, [0.0, 1.0, 2.0, 3.0]), GOLD)
    assert np.isnan(table["effect"]).all()
    assert table["aliases"].tolist() == ["c", "b", "a"]
    main = factorial.main_effects(study_of(third, [0.0, 1.0, 2.0, 3.0]), GOLD)
    assert main["aliases"].tolist() == ["b:c", "a:c", "a:b"]


def test_a_sign_of_an_alias_is_kept() -> None:
    mirrored = {name: [*on, on[0] != on[1]] for name, on in full(2).items()}  # c = −ab
    main = factorial.main_effects(study_of(mirrored, [0.0, 1.0, 2.0, 3.0]), GOLD)
    assert main["aliases"].tolist() == ["−b:c", "−a:c", "−a:b"]


def test_partial_aliasing_is_counted_with_its_largest_correlation() -> None:
    # Plackett–Burman in 12 runs: each main effect has |r| = 1/3 with all 6 pairs without it.
    first = np.array([1, 1, -1, 1, 1, 1, -1, -1, -1, 1, -1])
    rows = np.vstack([*(np.roll(first, shift) for shift in range(11)), -np.ones(11)])[:, :4]
    found = aliasing(["a", "b", "c", "d"], rows.astype(float))
    assert found.of(("a",)) == "partly 3 others (|r| up to 0.33)"


def test_with_three_seeds_the_spread_is_pooled_and_with_five_it_is_not() -> None:
    three = factorial.main_effects(study_of(full(3), outcome(full(3)), seeds=3, noise=1.0), GOLD)
    five = factorial.main_effects(study_of(full(3), outcome(full(3)), seeds=5, noise=1.0), GOLD)
    assert (three["method"] == POOLED).all() and (five["method"] == SEEDS).all()
    np.testing.assert_allclose(np.diff(three["high"] - three["low"]), 0.0, atol=1e-9)  # one for all


def test_a_factor_with_three_levels_has_an_effect_for_each_but_the_recipes() -> None:
    levels: Levels = {f"{x}{on}": [x, on] for x in (0.9, 0.95, 1.0) for on in (False, True)}
    means = [x + 2 * on for x, on in levels.values()]
    study = study_of(levels, means, kind="grid")
    table = factorial.main_effects(study, GOLD).set_index("factor")
    # the recipe, the last arm, has 1.0
    assert list(table.index) == ["a = 0.9", "a = 0.95", "b"]
    np.testing.assert_allclose(table["effect"], [-0.1, -0.05, 2.0], rtol=1e-9)
    assert len(factorial.interactions(study, GOLD)) == 0
    assert factorial.notes(study) == ["Interactions are of factors with two levels alone, without a."]


def test_pairs_beside_a_recipe_are_compared_with_their_parts() -> None:
    levels: Levels = {
        "full": [True, True],
        "no_a": [False, True],
        "no_b": [True, False],
        "neither": [False, False],
    }
    levels = {name: levels[name] for name in ("neither", "no_a", "no_b", "full")}
    table = factorial.interactions(study_of(levels, outcome(levels), kind="pairwise"), GOLD)
    assert table[["factor_a", "factor_b", "effect"]].values.tolist() == [["a", "b", pytest.approx(2.0)]]
    assert len(factorial.main_effects(study_of(levels, outcome(levels), kind="pairwise"), GOLD)) == 0


def test_random_sets_give_the_effects_of_an_additive_truth() -> None:
    rng = np.random.default_rng(4)
    levels: Levels = {f"set{i}": [bool(x) for x in rng.random(4) < 0.5] for i in range(12)}
    truth = np.array([1.0, -2.0, 0.5, 0.0])
    table = factorial.main_effects(
        study_of(levels, [float(truth @ on) for on in levels.values()], kind="random"), GOLD
    )
    np.testing.assert_allclose(table["effect"], truth, atol=1e-12)
    assert table["aliases"].str.startswith("partly").any()


def test_an_arm_that_failed_altogether_is_said_and_the_rest_is_used() -> None:
    levels, means = full(3), outcome(full(3))
    means[3] = float("nan")
    study = study_of(levels, means)
    assert "1 arms of the design have no finished run; effects are of the others." in factorial.notes(
        study
    )
    table = factorial.main_effects(study, GOLD)
    assert np.isfinite(table["effect"]).all() and table["aliases"].str.startswith("partly").all()


def test_other_designs_have_empty_tables(study: Study) -> None:
    assert list(factorial.main_effects(study, GOLD).columns) == factorial.MAIN_COLUMNS
    assert len(factorial.main_effects(study, GOLD)) == len(factorial.interactions(study, GOLD)) == 0
    assert factorial.notes(study) == []


def test_declared_aliases_are_checked_against_the_levels() -> None:
    signs = np.array([[1.0 if x else -1.0 for x in on] for on in half().values()])
    structure = aliasing(["a", "b", "c", "d"], signs)
    right = ["a:b = c:d", "a:c = b:d", "a:d = b:c", "a = b:c:d"]
    assert disagreement(structure, right) == ""
    assert disagreement(structure, ["b:a = -d:c", *right[1:]]) == ""
    assert disagreement(structure, [*right[1:], "a = b:c"]) == (
        "The levels of the arms and the declared aliases differ (not declared: a:b = c:d; declared but "
        "not so: a = b:c); the levels count."
    )
    assert declared(["a:b = c:d = e:f"]) == {
        frozenset({("a", "b"), ("c", "d")}),
        frozenset({("a", "b"), ("e", "f")}),
        frozenset({("c", "d"), ("e", "f")}),
    }


def test_effects_are_said_with_what_else_they_may_be() -> None:
    third = {name: [*on, on[0] == on[1]] for name, on in full(2).items()}
    study = study_of(third, [0.0, 0.0, 2.0, 2.0], noise=0.01)
    [said, *_] = [
        factorial.main_sentence(r, GOLD) for _, r in factorial.main_effects(study, GOLD).iterrows()
    ]
    assert said.startswith("Final gold score: a, or b:c does, adds 2.0")
    table = factorial.interactions(study_of(full(2), [0.0, 0.5, 1.0, 3.5]), GOLD)
    assert factorial.interaction_sentence(table.iloc[0], GOLD).startswith(
        "Final gold score: a and b together give 2.00 more than the sum of what each gives (95 %"
    )


def test_a_factor_that_follows_from_others_has_no_effect_and_says_so() -> None:
    levels: Levels = {name: [*on, on[0]] for name, on in full(2).items()}  # c = a
    table = factorial.main_effects(study_of(levels, [0.0, 1.0, 2.0, 3.0]), GOLD).set_index("factor")
    assert np.isnan(table.loc[["a", "c"], "effect"]).all()
    assert table["aliases"].to_dict() == {"a": factorial.CONFUSED, "b": "", "c": factorial.CONFUSED}
    np.testing.assert_allclose(table.loc["b", "effect"], 1.0)
