"""Curves over seeds, and how they are drawn where seeds have reward models of their own."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.curves import curve, has_zero
from analysis.figures.curve_panels import draw_curves
from analysis.intervals import FloatArray
from analysis.runs import Study
from tests.analysis.made_study import made_study

RISE = np.array([0.0, 1.0, 3.0])


def made(*reward_models: str, rise: FloatArray = RISE) -> Study:
    """Make a study of a seed a reward model, whose scores rise alike, from zeros that lie far apart."""
    seeds = len(reward_models)
    zeros = np.array([0.0, 100.0, -50.0])[:seeds, None]
    study = made_study(
        {"final/proxy": np.ones((seeds, 1))}, ["one"], curves={"reward/proxy": {"one": rise + zeros}}
    )
    more = {"start_ms": 0, "end_ms": 1000, "collapse_reason": ""}
    return replace(study, runs=study.runs.assign(reward_model=list(reward_models), **more))


def test_scores_of_several_reward_models_are_drawn_from_each_runs_start() -> None:
    panel = Figure().subplots()
    draw_curves(panel, made("first", "second", "third"), "reward/proxy")
    lines = [np.asarray(line.get_ydata()) for line in panel.lines]
    drawn = [values for values in lines if len(values) == len(RISE)]
    assert drawn and all(values == pytest.approx(RISE) for values in drawn)
    assert panel.get_ylabel() == "change in score"


def test_the_lines_of_two_runs_start_at_the_first_value_that_each_has() -> None:
    panel = Figure().subplots()
    draw_curves(panel, made("first", "second", rise=np.array([np.nan, 1.0, 3.0])), "reward/proxy")
    drawn = [np.asarray(line.get_ydata()) for line in panel.lines if line.get_linewidth() == 0.7]
    assert len(drawn) == 2
    assert all(values[np.isfinite(values)] == pytest.approx([0, 2]) for values in drawn)


def test_scores_of_one_reward_model_are_drawn_as_they_are() -> None:
    panel = Figure().subplots()
    study = made("first", "first", "first")
    draw_curves(panel, study, "reward/proxy")
    centre = curve(study, "reward/proxy", "one").centre
    assert any(np.array_equal(line.get_ydata(), centre) for line in panel.lines)
    assert centre[0] > 1
    assert panel.get_ylabel() == "score"


def test_the_change_starts_at_the_first_value_that_a_run_has() -> None:
    scores = np.array([[np.nan, 5.0, 6.0], [1.0, 2.0, 3.0]])
    curves = {"reward/proxy": {"one": scores}}
    study = made_study({"final/proxy": np.ones((2, 1))}, ["one"], curves=curves)
    assert curve(study, "reward/proxy", "one", is_change=True).centre == pytest.approx([0, 0.5, 1.5])


def test_only_scores_of_several_reward_models_have_no_zero() -> None:
    several = made("first", "second", "second")
    assert not has_zero(several, "eval/proxy")
    assert has_zero(several, "reward/gold")
    assert has_zero(made("first", "first", "first"), "eval/proxy")
