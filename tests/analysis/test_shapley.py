from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from analysis.designs import shapley
from analysis.runs import Study
from tests.analysis.made_study import made_study

GOLD = "final/gold"


def all_sets(k: int) -> np.ndarray:
    return np.array(list(product((False, True), repeat=k)))


def brute_force(sets: np.ndarray, value: np.ndarray) -> list[float]:
    """Average what each trick adds over all orders in which tricks can come."""
    worth = {tuple(on): v for on, v in zip(sets.tolist(), value, strict=True)}
    k = sets.shape[1]
    added = np.zeros(k)
    orders = list(permutations(range(k)))
    for order in orders:
        on = [False] * k
        for trick in order:
            before = worth[tuple(on)]
            on[trick] = True
            added[trick] += worth[tuple(on)] - before
    return list(added / len(orders))


def study_of(sets: np.ndarray, value: np.ndarray, kind: str = "factorial") -> Study:
    levels = {f"arm{i}": [bool(x) for x in on] for i, on in enumerate(sets)}
    seeds = np.arange(5.0)[:, None]
    design: dict[str, Any] = {"kind": kind, "recipe": "arm0", "levels": levels}
    design["factors"] = [f"t{i}" for i in range(sets.shape[1])]
    return made_study({GOLD: value[None] + seeds}, list(levels), design=design)


def test_a_full_factorial_gives_the_average_over_all_orders() -> None:
    sets, value = all_sets(4), np.random.default_rng(0).normal(size=16)
    table = shapley.shapley_values(study_of(sets, value), GOLD)
    np.testing.assert_allclose(table["value"], brute_force(sets, value), rtol=1e-9)
    # seeds shift all arms alike, so that shares do not vary, and sum to v(all) − v(none)
    np.testing.assert_allclose(table["value"].sum(), value[-1] - value[0], rtol=1e-9)
    np.testing.assert_allclose(table["low"], table["high"], rtol=1e-9)
    assert table["exact"].all() and table["trick"].tolist() == ["t0", "t1", "t2", "t3"]


def test_a_set_that_was_run_twice_shares_its_weight() -> None:
    sets = np.vstack([all_sets(2), [[True, True]]])
    table = shapley.shapley_values(study_of(sets, np.array([0.0, 1, 2, 4, 8])), GOLD)
    expected = brute_force(all_sets(2), np.array([0.0, 1, 2, 6]))
    np.testing.assert_allclose(table["value"], expected, rtol=1e-9)


def test_kernel_shap_over_all_sets_is_exact() -> None:
    sets, value = all_sets(4), np.random.default_rng(1).normal(size=16)
    rows = shapley.kernel_contrasts(sets)
    assert rows is not None
    np.testing.assert_allclose(rows @ value, brute_force(sets, value), rtol=1e-9)


def test_random_sets_give_an_additive_truth_exactly_and_say_how() -> None:
    rng = np.random.default_rng(2)
    sets = np.vstack([np.zeros(6), np.ones(6), rng.random((14, 6)) < 0.5]).astype(bool)
    truth = np.array([1.0, -2.0, 0.5, 0.0, 3.0, 0.1])
    study = study_of(sets, sets @ truth, "random")
    table = shapley.shapley_values(study, GOLD)
    np.testing.assert_allclose(table["value"], truth, atol=1e-9)
    assert not table["exact"].any()
    assert shapley.estimator(study).how == shapley.SAMPLED


def test_random_sets_come_near_the_shapley_values_of_a_truth_with_interactions() -> None:
    rng = np.random.default_rng(3)
    sets = all_sets(7)
    value = sets @ np.arange(7.0) + 4.0 * sets[:, 0] * sets[:, 1] - 3.0 * sets[:, 2] * sets[:, 3]
    expected = brute_force(sets, value)
    drawn = np.vstack([sets[[0, -1]], sets[1 + rng.permutation(126)[:80]]])
    rows = shapley.kernel_contrasts(drawn)
    assert rows is not None
    found = rows @ (
        drawn @ np.arange(7.0) + 4.0 * drawn[:, 0] * drawn[:, 1] - 3.0 * drawn[:, 2] * drawn[:, 3]
    )
    assert np.abs(found - expected).max() < 0.35  # the interactions alone are 4 and 3
    np.testing.assert_allclose(found.sum(), sum(expected), rtol=1e-9)


def test_a_fraction_of_resolution_four_gives_main_effects() -> None:
    sets = all_sets(3)
    sets = np.hstack([sets, sets.sum(axis=1, keepdims=True) % 2 == 1])
    value = 1.0 * sets[:, 0] + 2.0 * sets[:, 1] * sets[:, 2]  # no three interact: a 1, b and c 1 each
    study = study_of(sets, value, "fractional_factorial")
    table = shapley.shapley_values(study, GOLD)
    np.testing.assert_allclose(table["value"], [1.0, 1.0, 1.0, 0.0], atol=1e-9)
    assert shapley.estimator(study).how == shapley.MODEL and not table["exact"].any()


@pytest.mark.parametrize(
    ("sets", "kind", "reason"),
    [
        (all_sets(2), "leave_one_out", "the study did not run sets of tricks"),
        (
            np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1]]) > 0,
            "fractional_factorial",
            "confounded",
        ),
        (np.array([[0, 1], [1, 0], [1, 1]]) > 0, "random", "it needs the arm with no trick"),
        (np.array([[0, 1]]) > 0, "factorial", "every trick was on in all arms, or off in all"),
    ],
)
def test_what_does_not_allow_it_is_refused_with_a_sentence(
    sets: np.ndarray, kind: str, reason: str
) -> None:
    study = study_of(sets, np.zeros(len(sets)), kind)
    assert len(shapley.shapley_values(study, GOLD)) == 0
    assert shapley.estimator(study).how.startswith("No Shapley values: ")
    assert reason in shapley.estimator(study).how


def test_a_trick_that_is_always_on_has_no_share() -> None:
    sets = np.hstack([all_sets(2), np.ones((4, 1), bool)])
    table = shapley.shapley_values(study_of(sets, np.array([0.0, 1, 2, 3])), GOLD)
    assert table["trick"].tolist() == ["t0", "t1"] and table["exact"].all()
    np.testing.assert_allclose(table["value"], [2.0, 1.0], rtol=1e-9)


def test_levels_other_than_on_and_off_are_refused() -> None:
    design = {"kind": "grid", "recipe": "a", "factors": ["x"], "levels": {"a": [0.1], "b": [0.2]}}
    study = made_study({GOLD: np.zeros((5, 2))}, ["a", "b"], design=design)
    assert "levels other than on and off" in shapley.estimator(study).how


def test_a_share_is_said_with_its_interval() -> None:
    table = shapley.shapley_values(study_of(all_sets(2), np.array([0.0, 1, 2, 4])), GOLD)
    assert shapley.shapley_sentence(table.iloc[1], GOLD) == (
        "Final gold score: t1's share is 1.50 (Shapley value) "
        "(95 % interval 1.50 to 1.50, n = 5, p = 0.0625)."
    )
