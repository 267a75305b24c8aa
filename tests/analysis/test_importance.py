import numpy as np
import pytest

from analysis.designs import importance, pareto
from analysis.page.design_findings import _importance_sentence
from analysis.runs import Study
from tests.analysis.made_study import made_study

GOLD, KL = "final/gold", "final/kl_to_sft"
SEARCH = {
    "kind": "search",
    "objectives": {GOLD: "maximize", KL: "minimize"},
    "constraints": {KL: 10.0},
}


def search_study(trials: int = 60) -> Study:
    """Gold is log₁₀ of the rate, and twice the weight of a penalty that half the trials have."""
    rng = np.random.default_rng(0)
    params, gold = {}, []
    for i in range(trials):
        rate, weight, has_penalty = 10 ** rng.uniform(-5, -3), rng.uniform(), bool(rng.random() < 0.5)
        own = {"trick.adam": "true", "adam.rate": repr(rate), "adam.amsgrad": "False", "ppo.epochs": "1"}
        penalty = {"trick.penalty": "true", "penalty.weight": repr(weight), "penalty.cap": "inf"}
        params[f"t{i:04d}"] = own | (penalty if has_penalty else {})
        gold.append(np.log10(rate) + (2 * weight if has_penalty else 0.0))
    finals = {GOLD: np.array([gold]), KL: rng.exponential(6.0, (1, trials))}
    return made_study(finals, list(params), design=SEARCH, params=params)


@pytest.fixture(scope="module")
def search() -> Study:
    return search_study()


def test_what_moves_the_metric_is_important_and_what_is_constant_is_left_out(search: Study) -> None:
    table = importance.importances(search, GOLD).set_index("parameter")
    assert set(table.index) == {"adam.rate", "penalty", "penalty.weight"}
    assert table.loc["adam.rate", "fanova"] > 0.4
    has_penalty = sum(bool(point["penalty"]) for point in importance.trials(search, GOLD)[0])
    assert table["n"].to_dict() == {"penalty.weight": has_penalty, "adam.rate": 60, "penalty": 60}
    np.testing.assert_allclose(table.loc[["adam.rate", "penalty"], "fanova"].sum(), 1.0, rtol=1e-9)
    np.testing.assert_allclose(table["ped_anova"].sum(), 1.0, rtol=1e-9)


def test_what_only_noise_moves_is_not_explained_and_said_to_be_noise() -> None:
    rng = np.random.default_rng(1)
    params = {
        f"t{i}": {"trick.adam": "true", "adam.rate": repr(rng.uniform()), "adam.kind": str(i % 3)}
        for i in range(25)
    }
    noise = made_study({GOLD: rng.normal(size=(1, 25))}, list(params), design=SEARCH, params=params)
    table = importance.importances(noise, GOLD)
    assert table["fanova"].sum() == pytest.approx(1.0)
    assert (table["explained"] <= 0).all() and table["ped_anova"].isna().all()
    said = [_importance_sentence(row, GOLD) for _, row in table.iterrows()]
    assert all("its importance is noise" in sentence for sentence in said)


def test_a_search_in_which_nothing_varied_has_no_importances() -> None:
    params = {f"t{i}": {"trick.adam": "true", "adam.rate": "0.1"} for i in range(25)}
    study = made_study({GOLD: np.arange(25.0)[None]}, list(params), design=SEARCH, params=params)
    assert len(importance.importances(study, GOLD)) == 0


def test_what_is_explained_is_said_with_its_share(search: Study) -> None:
    table = importance.importances(search, GOLD).set_index("parameter", drop=False)
    assert (table["explained"] > 0.5).all()
    said = _importance_sentence(table.loc["adam.rate"], GOLD)
    assert f"R² {table.loc['adam.rate', 'explained']:.2f} out of bag); " in said
    assert said.startswith("adam.rate has ") and "sets the best tenth apart (PED-ANOVA)." in said


def test_ped_anova_looks_at_the_best_end_of_the_metric(search: Study) -> None:
    # Weight lifts gold, and KL was drawn apart from everything: the best trials have large weights.
    table = importance.importances(search, GOLD).set_index("parameter")
    assert table["ped_anova"].idxmax() == "penalty.weight"


def test_trials_have_typed_parameters_and_only_those_of_their_tricks(search: Study) -> None:
    points, objective = importance.trials(search, GOLD)
    assert len(points) == len(objective) == 60
    with_it = next(point for point in points if point["penalty"])
    without = next(point for point in points if not point["penalty"])
    assert isinstance(with_it["adam.rate"], float) and with_it["adam.amsgrad"] is False
    assert "penalty.weight" in with_it and "penalty.weight" not in without
    assert "penalty.cap" not in with_it  # infinite
    assert not any("epochs" in name for name in with_it)


def test_a_trial_is_the_mean_of_its_seeds_and_one_that_failed_is_left_out() -> None:
    gold = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]])
    params = {arm: {"trick.a": "true", "a.x": "1"} for arm in ("t0", "t1", "t2")}
    study = made_study({GOLD: gold}, ["t0", "t1", "t2"], design=SEARCH, params=params)
    points, objective = importance.trials(study, GOLD)
    assert objective.tolist() == [2.0, 2.0] and len(points) == 2


def test_designs_get_no_importances_and_are_told_why(study: Study) -> None:
    assert importance.refusal(study).startswith(
        "No importances: they mislead on designs (this one is named)"
    )
    assert list(importance.importances(study, GOLD).columns) == importance.IMPORTANCE_COLUMNS
    assert len(importance.importances(study, GOLD)) == 0
    assert len(pareto.pareto(study)) == 0


def test_few_trials_get_no_importances_and_are_told_why() -> None:
    few = search_study(19)
    assert importance.refusal(few) == "No importances: 19 trials are fewer than 20."
    assert len(importance.importances(few, GOLD)) == 0


def test_the_pareto_front_is_of_the_trials_that_keep_the_constraint() -> None:
    gold, kl = [[1.0, 2.0, 2.0, 9.0, np.nan]], [[1.0, 2.0, 3.0, 11.0, 1.0]]
    arms = [f"t{i}" for i in range(5)]
    study = made_study({GOLD: np.array(gold), KL: np.array(kl)}, arms, design=SEARCH)
    table = pareto.pareto(study).set_index("arm")
    # t1 dominates t2; t3 has the most gold but breaks the constraint; t4 has no gold
    assert table["is_efficient"].to_dict() == {"t0": True, "t1": True, "t2": False, "t3": False}
    assert table["feasible"].to_dict() == {"t0": True, "t1": True, "t2": True, "t3": False}
    assert table.loc["t3", [GOLD, KL]].tolist() == [9.0, 11.0]


def test_a_bound_on_collapses_leaves_out_the_trials_that_collapsed() -> None:
    design = {"kind": "search", "objectives": {GOLD: "maximize"}, "constraints": {"collapsed": 0.0}}
    finals = {
        GOLD: np.array([[1.0, 2.0, 9.0]] * 2),
        "final/collapsed": np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    }
    table = pareto.pareto(made_study(finals, ["t0", "t1", "t2"], design=design)).set_index("arm")
    assert table["collapsed"].tolist() == [0.0, 0.0, 0.5]
    assert table["feasible"].tolist() == [True, True, False]
    assert table["is_efficient"].tolist() == [False, True, False]


def test_a_trial_that_was_given_up_is_not_on_the_front() -> None:
    design = {"kind": "search", "objectives": {GOLD: "maximize"}}
    gold = np.array([[5.0, 4.0, 4.5], [1.0, 0.5, np.nan]])  # the third would lead by its easy seed
    table = pareto.pareto(made_study({GOLD: gold}, ["t0", "t1", "t2"], design=design))
    assert table["n"].tolist() == [2, 2, 1] and table["feasible"].all()
    assert table["is_efficient"].tolist() == [True, False, False]


def test_the_attained_kl_stands_beside_a_single_objective() -> None:
    design = {"kind": "search", "objectives": {GOLD: "maximize"}}
    finals = {GOLD: np.array([[1.0, 2.0]]), KL: np.array([[3.0, 4.0]])}
    table = pareto.pareto(made_study(finals, ["t0", "t1"], design=design))
    assert table[KL].tolist() == [3.0, 4.0]
    assert table["is_efficient"].tolist() == [False, True] and table["feasible"].all()


def test_importances_of_a_leave_one_out_mislead_which_is_why_designs_get_none() -> None:
    effects = {"a": 4.0, "b": 2.0, "c": 0.1, "d": -0.1}
    params, gold = {}, []
    for copy in range(10):
        for out in ("", *effects):
            params[f"{copy}-{out}"] = {f"trick.{name}": "true" for name in effects if name != out}
            gold.append(sum(effect for name, effect in effects.items() if name != out) + 0.001 * copy)
    as_if = made_study({GOLD: np.array([gold])}, list(params), design=SEARCH, params=params)
    table = importance.importances(as_if, GOLD).set_index("parameter")
    assert table.loc["d", "ped_anova"] > 0.9
