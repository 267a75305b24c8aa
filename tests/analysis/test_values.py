"""One value a run, lined up by seed and arm."""

import numpy as np
import pandas as pd

from analysis.values import final_values, start_values
from tests.analysis.made_study import made_study

FINALS = np.array([[1.0, np.nan], [np.inf, 4.0]])


def test_each_run_has_its_last_value_and_what_is_not_finite_is_missing() -> None:
    curves = {"reward/gold": {"b": np.array([[1.0, 2.0], [3.0, 5.0]])}}
    study = made_study({"final/gold": FINALS}, ["b", "a"], curves=curves)
    expected = pd.DataFrame([[1.0, np.nan], [np.nan, 4.0]], index=[0, 1], columns=["b", "a"])
    pd.testing.assert_frame_equal(final_values(study, "final/gold"), expected)
    assert final_values(study, "reward/gold")["b"].tolist() == [2.0, 5.0]
    assert final_values(study, "reward/gold")["a"].isna().all()


def test_the_start_is_the_evaluation_at_iteration_zero() -> None:
    curves = {"eval/gold": {"a": np.array([[0.5, 9.0], [0.7, 9.0]])}}
    study = made_study({"final/gold": FINALS}, ["b", "a"], curves=curves)
    assert start_values(study, "final/gold")["a"].tolist() == [0.5, 0.7]
    assert start_values(study, "final/gold")["b"].isna().all()


def test_a_metric_that_nobody_recorded_is_missing_everywhere() -> None:
    study = made_study({"final/gold": FINALS}, ["b", "a"])
    assert final_values(study, "final/proxy").isna().all(axis=None)
    assert final_values(study, "final/proxy").shape == (2, 2)
