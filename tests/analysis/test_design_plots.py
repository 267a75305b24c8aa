import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis import plots
from analysis.figures.designs import MOST_ROWS, forest_of, interactions_of
from analysis.figures.panels import COLUMN, PAGE
from analysis.figures.ridges import QUANTILES, density
from analysis.figures.warnings import MOST, drawn_monitors, warning_ranking_of
from analysis.runs import Study
from analysis.selection import shown_arms
from tests.analysis.made_study import made_study

FOREST = pd.DataFrame(
    {
        "trick": ["value_clip", "reward_norm", "ppo_ptx"],
        "effect": [0.2, -0.8, 0.5],
        "low": [-0.1, -1.1, 0.3],
        "high": [0.5, -0.5, 0.7],
        "detectable": [0.4, 0.4, np.nan],
    }
)


def names_of(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_a_forest_has_the_greatest_effect_on_top_and_hollow_marks_where_zero_is_inside() -> None:
    figure = forest_of(FOREST)
    assert names_of(figure) == ["ppo ptx", "value clip", "reward norm"]
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [to_hex(mark.get_markerfacecolor()) for mark in marks] == ["#0072b2", "#ffffff", "#0072b2"]


def test_what_could_not_be_found_is_drawn_where_it_is_known() -> None:
    bars = forest_of(FOREST).axes[0].patches
    # of value_clip and reward_norm: from −0.4 to 0.4
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(-0.4, 0.8)] * 2  # type: ignore[attr-defined]


def test_a_long_forest_keeps_the_largest_effects() -> None:
    count = MOST_ROWS + 5
    sizes = np.linspace(-1, 1, count)
    table = pd.DataFrame({"trick": [f"t{i}" for i in range(count)], "effect": sizes})
    table = table.assign(low=sizes - 0.1, high=sizes + 0.1, detectable=0.2)
    names = names_of(forest_of(table))
    assert len(names) == MOST_ROWS
    assert f"t{count // 2}" not in names and {"t0", f"t{count - 1}"} <= set(names)


INTERACTIONS = pd.DataFrame(
    {
        "factor_a": ["a", "a", "b"],
        "factor_b": ["b", "c", "c"],
        "effect": [0.94, -0.37, 0.05],
        "low": [0.5, -0.6, -0.3],
        "high": [1.4, -0.1, 0.4],
        "aliases": ["", "", "a:d"],
    }
)


def cells_of(figure: Figure) -> dict[str, str]:
    return {text.get_text(): str(text.get_fontweight()) for text in figure.axes[0].texts}


def test_a_heat_map_writes_numbers_bold_where_they_are_sure_and_marks_aliases() -> None:
    assert cells_of(interactions_of(INTERACTIONS)) == {
        "+0.94": "bold",
        "−0.37": "bold",
        "+0.05≡": "normal",
    }


def test_a_heat_map_of_many_factors_in_a_column_writes_signs() -> None:
    names = [f"f{i}" for i in range(9)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    table = pd.DataFrame(pairs, columns=["factor_a", "factor_b"])
    table = table.assign(effect=0.1, low=0.0, high=0.2, aliases="")
    assert set(cells_of(interactions_of(table, COLUMN))) == {"+"}


def test_heat_map_and_forest_of_nothing_say_so() -> None:
    for draw, table in ((forest_of, FOREST), (interactions_of, INTERACTIONS)):
        (text,) = draw(table.iloc[:0]).axes[0].texts
        assert text.get_text().startswith("the study")


def factorial_study() -> Study:
    levels = {name: [name[0] == "1", name[1] == "1"] for name in ("00", "01", "10", "11")}
    values = np.array([[0.0, 1.0, 2.0, 5.0]]) + np.linspace(0, 0.1, 5)[:, None]
    design = {"kind": "factorial", "recipe": "11", "factors": ["a", "b"], "levels": levels}
    finals = {"final/gold": values, "final/kl_to_sft": 1 + values}
    return made_study(finals, list(levels), design=design)


@pytest.mark.parametrize("name", ["main_effects", "interactions", "shapley_values"])
def test_a_factorial_study_has_the_figures_of_its_design(name: str) -> None:
    study = factorial_study()
    assert plots.is_drawn(study, name) and not plots.is_drawn(study, "forest")
    for width in (PAGE, COLUMN):
        assert "final gold score" in str(plots.FIGURES[name](study, width).axes[0].get_xlabel()) or (
            name == "interactions"
        )


def test_the_frontier_joins_the_arms_that_none_beats() -> None:
    study = made_study(
        {
            "final/gold": np.array([[0.0, 1.0, 0.5], [0.2, 1.2, 0.7]]),
            "final/kl_to_sft": np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]),
        },
        ["low", "best", "beaten"],
    )
    line = next(
        one
        for one in plots.frontier(study).axes[0].lines
        if one.get_linestyle() == ":" or len(np.asarray(one.get_xdata())) == 3
    )
    assert np.asarray(line.get_xdata()).tolist() == [1.0, 2.0, 3.0]  # on to the last arm's KL
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [0.1, 1.1, 1.1])


def test_every_run_and_every_arm_is_a_line_of_the_parallel_coordinates() -> None:
    study = factorial_study()
    panel = plots.parallel_coordinates(study).axes[0]
    assert len(panel.collections[0].get_segments()) == 20  # type: ignore[attr-defined]
    arms = [line for line in panel.lines if line.get_marker() not in ("None", "")]
    assert len(arms) == len(shown_arms(study)) == 4


SCORES = pd.DataFrame(
    {
        "monitor": ["kl", "kl", "iteration", "iteration"],
        "label": ["KL", "KL", "the iteration alone", "the iteration alone"],
        "horizon": [10, 20, 10, 20],
        "auroc": [0.9, 0.8, 0.6, np.nan],
        "low": [0.8, 0.7, 0.5, np.nan],
        "high": [1.0, 0.9, 0.7, np.nan],
    }
)


def test_the_ranking_draws_a_mark_for_each_horizon_that_has_a_score() -> None:
    panel = warning_ranking_of(SCORES, ["kl", "iteration", "unknown"]).axes[0]
    marks = [line for line in panel.lines if line.get_marker() in "^os"]
    assert [float(np.asarray(mark.get_xdata())[0]) for mark in marks] == [0.9, 0.8, 0.6]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["KL", "the iteration alone"]


def test_the_monitors_of_the_paper_and_the_clock_are_drawn_wherever_they_stand() -> None:
    names = [f"policy/{i}" for i in range(30)]
    names += ["ppo/value_loss", "iteration", "reward/proxy", "eval/gold"]
    ranked = pd.DataFrame({"monitor": names, "judged": [name == "eval/gold" for name in names]})
    drawn = drawn_monitors(ranked)
    assert len(drawn) == MOST
    assert drawn[:9] == names[:9] and drawn[9:] == ["ppo/value_loss", "iteration", "reward/proxy"]


def test_a_ridge_is_a_density_that_moves_and_stretches_with_its_quantiles() -> None:
    normal = np.array([-1.645, -0.674, 0.0, 0.674, 1.645])
    score, height = density(normal)
    assert np.trapezoid(height, score) == pytest.approx(1.0, abs=1e-3)
    assert score[np.argmax(height)] == pytest.approx(0.0, abs=0.1)
    assert height.max() == pytest.approx(0.3989 / np.hypot(1, 0.337), rel=0.05)  # kernel ¼·1.349 wide
    moved, stretched = density(3.0 + 2.0 * normal)
    np.testing.assert_allclose(moved, 3.0 + 2.0 * score, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(stretched, height / 2.0, rtol=1e-9)


def test_a_ridge_of_scores_that_are_all_one_is_a_spike_and_finite() -> None:
    score, height = density(np.full(len(QUANTILES), 2.0))
    assert np.isfinite(height).all() and score[np.argmax(height)] == pytest.approx(2.0, abs=1e-3)
