"""Sweeps: which arms make one, what is told of it and how it is drawn."""

import numpy as np
import pandas as pd
import pytest

from analysis import plots
from analysis.designs.sweeps import sweep_sentences, sweep_table, sweeps_of
from analysis.figures.panels import COLUMN, PAGE
from analysis.intervals import floats
from analysis.page.design_findings import design_findings
from analysis.runs import Study
from analysis.tables import tables_of
from tests.analysis.made_study import Array, made_study

GOLD = "final/gold"
WEIGHTS = {"kl_0.2": "0.2", "kl_0.01": "0.01", "kl_0.05": "0.05"}
PENALTY = {"trick.kl": "true", "kl.estimator": "k1"}
ONE = {arm: {**PENALTY, "kl.weight": weight} for arm, weight in WEIGHTS.items()}


def swept(
    params: dict[str, dict[str, str]],
    ends: list[float],
    curves: dict[str, dict[str, Array]] | None = None,
) -> Study:
    """Make a study of four seeds whose arms end here, ± 0.1."""
    spread = np.array([-0.1, 0.1, -0.1, 0.1])[:, None]
    return made_study({GOLD: np.array(ends) + spread}, list(params), params=params, curves=curves)


def test_arms_that_differ_in_one_number_are_a_sweep_in_the_order_of_its_values() -> None:
    study = swept({"vanilla": {}, **ONE, "other": {"trick.clip": "true"}}, [0, 3, 1, 2, 9])
    [sweep] = sweeps_of(study)
    assert (sweep.setting, sweep.beside, sweep.without) == ("kl.weight", "", "vanilla")
    assert list(sweep.arms.items()) == [(0.01, "kl_0.01"), (0.05, "kl_0.05"), (0.2, "kl_0.2")]


def test_what_differs_in_more_or_is_no_number_makes_no_sweep() -> None:
    two = {f"a{i}": {**PENALTY, "kl.weight": f"{i}", "kl.clamp": f"{i}"} for i in range(3)}
    words = {name: {"trick.kl": "true", "kl.clamp": name} for name in ("1", "2", "inf", "-inf", "none")}
    pair = dict(list(ONE.items())[:2])
    alike = {f"b{i}": ONE["kl_0.2"] for i in range(3)}
    rates = {f"c{i}": {"trick.kl": "true", "ppo.rate": f"{i}"} for i in range(3)}
    for params in (two, words, pair, alike, rates):
        assert sweeps_of(swept(params, [0.0] * len(params))) == ()


def test_a_grid_has_a_sweep_for_each_setting_of_the_rest() -> None:
    params = {
        f"{clip}{weight}": {**PENALTY, "kl.weight": weight} | ({"trick.clip": "true"} if clip else {})
        for clip in ("", "clip_")
        for weight in ("1", "2", "3")
    }
    found = sweeps_of(swept(params, [0.0] * 6))
    assert [(one.setting, one.beside, len(one.arms)) for one in found] == [
        ("kl.weight", "", 3), ("kl.weight", "clip", 3),
    ]  # fmt: skip


def test_families_are_told_apart_by_their_tricks_or_else_by_what_is_set_of_them() -> None:
    def beside(*families: dict[str, str]) -> list[str]:
        params = {
            f"{at}_{weight}": {**PENALTY, "kl.weight": weight, **own}
            for at, own in enumerate(families)
            for weight in ("1", "2", "3")
        }
        return [one.beside for one in sweeps_of(swept(params, [0.0] * len(params)))]

    clip, dual = {"trick.clip": "true", "clip.range": "0.2"}, {"trick.dual": "true", "dual.range": "3"}
    assert beside(clip, dual) == ["clip", "dual"]
    assert beside({}, clip, clip | {"clip.range": "0.5"}) == [
        "", "clip.range = 0.2, clip", "clip.range = 0.5, clip",
    ]  # fmt: skip


def test_each_value_has_its_mean_and_the_runs_that_hold_and_so_has_the_arm_without() -> None:
    fall = {"eval/gold": {"kl_0.01": np.repeat([[1.0, -9.0]], 20, axis=1).repeat(4, 0)}}
    study = swept({"vanilla": {}, **ONE}, [0.5, 3, 1, 2], curves=fall)
    table = sweep_table(study, GOLD)
    assert table["arm"].tolist() == ["vanilla", "kl_0.01", "kl_0.05", "kl_0.2"]
    np.testing.assert_allclose(table["value"], [np.nan, 0.01, 0.05, 0.2])
    np.testing.assert_allclose(table["estimate"], [0.5, 1, 2, 3])
    assert table["held"].tolist() == [4, 0, 4, 4] and set(table["ended"]) == set(table["n"]) == {4}
    # by hand: Student's t at 3 degrees, 3.182, times 0.1155 / 2; of 0 of 4 runs 1 − 0.025^(1/4)
    assert table["high"][1] - 1 == pytest.approx(0.1837, abs=1e-4)
    assert table["held_high"][1] == pytest.approx(0.6024, abs=1e-4)


def test_a_sentence_says_where_it_is_highest_and_lowest_and_where_all_runs_hold() -> None:
    study = swept({"vanilla": {}, **ONE}, [0.5, 3, 1, 2])
    [text] = sweep_sentences(sweep_table(study, GOLD), GOLD)
    assert text == (
        "Final gold score over 3 values of kl.weight, 0.01 to 0.2: highest at 0.2, 3.00 (95 % interval "
        "2.82 to 3.18, n = 4), lowest at 0.01, 1.00 (95 % interval 0.816 to 1.18, n = 4). Without the "
        "trick 0.500 (95 % interval 0.316 to 0.684, n = 4). All runs hold at every value."
    )
    said = design_findings(study, tables_of(study))
    first, note = said["How the outcome goes with a number"]
    assert first.text == text and "luckiest" in note.text


def test_values_without_a_run_are_left_out_of_sentence_and_figure() -> None:
    study = swept({**ONE, "kl_0.1": {**PENALTY, "kl.weight": "0.1"}}, [3, 1, 2, np.nan])
    [text] = sweep_sentences(sweep_table(study, GOLD), GOLD)
    assert "over 3 values" in text
    assert sweep_table(study, GOLD)["ended"].tolist() == [4, 4, 0, 4]
    means = [line for line in plots.sweeps(study).axes[0].lines if line.get_linewidth() == 0.9]
    np.testing.assert_allclose(floats(means[0].get_ydata()), [1, 2, 3])


@pytest.mark.parametrize("width", [PAGE, COLUMN])
def test_the_figure_has_outcome_kl_and_runs_that_hold_over_the_values(width: float) -> None:
    kl = {"final/kl_to_sft": np.full((4, 4), 2.0)}
    study = swept({"vanilla": {}, **ONE}, [0.5, 3, 1, 2])
    both = made_study(
        {GOLD: study.metrics.query("metric == @GOLD")["value"].to_numpy().reshape(4, 4).T, **kl},
        study.arms, params={"vanilla": {}, **ONE},
    )  # fmt: skip
    panels = plots.sweeps(both, width).axes
    assert [panel.get_ylabel() for panel in panels] == [
        "final gold score", "final KL to the SFT policy", "share of runs that hold",
    ]  # fmt: skip
    assert {panel.get_xscale() for panel in panels} == {"log"}
    assert [tick.get_text() for tick in panels[0].get_xticklabels()] == ["0.01", "0.05", "0.2"]


@pytest.mark.parametrize(("least", "scale"), [(0.01, "log"), (1.0, "linear"), (-0.01, "linear")])
def test_a_kl_over_orders_of_magnitude_is_drawn_on_a_logarithmic_axis(least: float, scale: str) -> None:
    metrics = {GOLD: np.ones((4, 3)), "final/kl_to_sft": np.array([[20.0, least, 2.0]] * 4)}
    panels = plots.sweeps(made_study(metrics, list(ONE), params=ONE)).axes
    assert [panel.get_yscale() for panel in panels] == ["linear", scale, "linear"]


def test_a_study_without_sweeps_has_no_such_table_and_no_such_figure() -> None:
    study = swept({"vanilla": {}, "clip": {"trick.clip": "true"}}, [0, 1])
    assert isinstance(tables_of(study).sweeps, pd.DataFrame) and not len(tables_of(study).sweeps)
    assert not plots.is_drawn(study, "sweeps") and plots.is_drawn(swept(ONE, [0, 1, 2]), "sweeps")
