"""One value a run, lined up by seed and arm."""

import numpy as np
import pandas as pd

from analysis.values import final_values, sft_level, sft_values
from tests.analysis.made_study import made_study

FINALS = np.array([[1.0, np.nan], [np.inf, 4.0]])


def test_each_run_has_its_last_value_and_what_is_not_finite_is_missing() -> None:
    curves = {"reward/gold": {"b": np.array([[1.0, 2.0], [3.0, 5.0]])}}
    study = made_study({"final/gold": FINALS}, ["b", "a"], curves=curves)
    expected = pd.DataFrame([[1.0, np.nan], [np.nan, 4.0]], index=[0, 1], columns=["b", "a"])
    pd.testing.assert_frame_equal(final_values(study, "final/gold"), expected)
    assert final_values(study, "reward/gold")["b"].tolist() == [2.0, 5.0]
    assert final_values(study, "reward/gold")["a"].isna().all()


def test_the_sft_policy_is_seen_once_a_seed_before_any_update() -> None:
    gold = {"c": np.array([[0.0, 0.0], [0.0, 0.0]]), "a": np.array([[0.5, 9.0], [0.7, 9.0]])}
    kl = {"c": np.array([[4.0, 4.0], [np.nan, 5.0]]), "a": np.array([[1e-7, 3.0], [-1e-7, 4.0]])}
    curves = {"eval/gold": gold, "policy/kl_to_sft": kl}
    study = made_study(
        {"final/gold": np.hstack([FINALS, FINALS[:, :1]])}, ["c", "b", "a"], curves=curves
    )
    assert sft_values(study, "eval/gold").to_dict() == {0: 0.5, 1: 0.7}
    assert sft_level(study, "eval/gold") == 0.6


def test_of_arms_that_sample_otherwise_the_baseline_speaks_for_all_and_each_for_itself() -> None:
    gold = {"cool": np.array([[0.9, 9.0], [1.1, 9.0]]), "base": np.array([[0.5, 9.0], [np.nan, 9.0]])}
    study = made_study({"final/gold": FINALS}, ["base", "cool"], curves={"reward/gold": gold})
    assert sft_values(study, "reward/gold").to_dict() == {0: 0.5, 1: 1.1}
    assert sft_values(study, "reward/gold", "cool").to_dict() == {0: 0.9, 1: 1.1}
    assert np.isnan(sft_values(study, "reward/gold", "base")[1])


def test_a_policy_of_unknown_kl_starts_from_sft_and_a_score_that_is_not_finite_is_no_start() -> None:
    curves = {"eval/gold": {"a": np.array([[0.5, 9.0], [np.inf, 9.0]])}}
    study = made_study({"final/gold": FINALS}, ["b", "a"], curves=curves)
    values = sft_values(study, "eval/gold")
    assert values[0] == 0.5 and np.isnan(values[1])
    assert sft_level(study, "eval/gold") == 0.5 and sft_level(study, "reward/gold") is None


def test_a_metric_that_nobody_recorded_is_missing_everywhere() -> None:
    study = made_study({"final/gold": FINALS}, ["b", "a"])
    assert final_values(study, "final/proxy").isna().all(axis=None)
    assert final_values(study, "final/proxy").shape == (2, 2)
