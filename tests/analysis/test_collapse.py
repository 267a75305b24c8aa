from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from analysis.collapse import collapses, disagreements
from analysis.falls import Fall, change_point
from analysis.runs import Study
from tests.analysis.made_study import made_study
from tests.analysis.synthetic_store import QUICKSTART, Arm, Plan
from tests.calibration.warnings import flat_falls, time_errors


def with_curve(study: Study, metric: str, values: np.ndarray) -> Study:
    """Put these curves [runs, T] in the place of each run's."""
    is_it = study.metrics["metric"] == metric
    changed = study.metrics.copy()
    changed.loc[is_it, "value"] = values.ravel()
    return replace(study, metrics=changed)


def test_planted_collapses_are_found_within_one_iteration(study: Study) -> None:
    table = collapses(study)
    planted = np.array(QUICKSTART.arms["vanilla"].collapse, float)
    found = table[table["arm"] == "vanilla"]
    assert np.abs(found["gold"] - planted).max() <= 1
    assert (found["collapse"] == found["gold"]).all() and set(found["rule"]) == {"gold"}
    held = table[table["arm"] == "ppo_max"]
    assert held["collapse"].isna().all() and held["agrees"].all()


def test_a_jump_of_gold_is_dated_within_one_iteration_under_heavy_noise() -> None:
    # from three standard errors above the start to four below
    late = time_errors(np.inf, 300)
    assert np.mean(np.abs(late) <= 1) > 0.99


def test_a_gradual_fall_is_dated_without_bias_where_noise_hides_the_iteration() -> None:
    # Half a standard error an iteration: three in a row below two errors come five iterations late.
    late = time_errors(0.5, 300)
    assert np.isfinite(late).all()
    assert abs(late.mean()) < 1 and np.sqrt(np.mean(late**2)) < 2.5


def test_gold_that_stays_at_its_start_is_rarely_said_to_fall() -> None:
    assert flat_falls(5, 150, 2000) < 0.02
    assert flat_falls(1, 500, 2000) < 0.10


def test_the_change_point_is_where_the_curve_goes_below_for_good() -> None:
    # sums above the level 0: 1, 2, 1.5, 2.5 (largest), 1.5, … : below from place 4
    assert change_point(np.array([1.0, 1, -0.5, 1, -1, -1, -1]), 0.0) == 4
    assert change_point(np.array([-1.0, -1, -1]), 0.0) == 0


@pytest.fixture
def pair(make_study: Callable[[Plan], Study]) -> Study:
    return make_study(Plan({"a": Arm()}, seeds=(0, 1), iterations=6, noise=0.0))


def test_a_fall_is_measured_from_the_mean_start_of_all_seeds(pair: Study) -> None:
    # start (0.6 + 0.8)/2 = 0.7; e = 0.9/√128 = 0.0795; bar = 0.7 − 2·e·√1.5 = 0.505
    gold = np.array([[0.6, 0.5, 0.5, 0.51, 0.5, 0.5], [0.8, 0.9, 0.9, 0.5, 0.5, 0.5]])
    found = collapses(with_curve(pair, "reward/gold", gold))["gold"]
    assert np.isnan(found[0]) and found[1] == 3


def test_an_arm_that_samples_otherwise_falls_from_where_it_began() -> None:
    # "cool" begins at 2 and falls to 1, where "base" begins; "elsewhere" begins there without SFT.
    step = np.arange(40) >= 20
    gold = {"base": np.ones((1, 40)), "cool": 2.0 - step[None], "elsewhere": 1.0 - step[None]}
    kl = {arm: np.full((1, 40), float(arm == "elsewhere")) for arm in gold}
    curves = {"reward/gold": gold, "policy/kl_to_sft": kl}
    study = made_study({"final/gold": np.ones((1, 3))}, list(gold), curves=curves)
    assert np.isnan(collapses(study)["gold"][0])
    assert collapses(study)["gold"][1:].tolist() == [20, 20]
    moved = {"reward/gold": gold, "policy/kl_to_sft": dict.fromkeys(gold, np.ones((1, 40)))}
    nowhere = made_study({"final/gold": np.ones((1, 3))}, list(gold), curves=moved)
    assert collapses(nowhere)["gold"][1:].tolist() == [20, 20]


def test_what_begins_below_the_start_falls_only_once_it_has_been_there() -> None:
    fall, counted = Fall(start=0.0, error=0.5, margin=2.0, patience=2), np.ones(9, bool)
    climbs = np.array([-3.0, -2.5, -2.0, -1.5, -0.9, -1.2, -1.1, -0.5, 0.1])
    assert fall.place(climbs, counted) is None
    falls = np.array([-3.0, -2.5, -2.0, 0.2, 0.1, 0.3, -1.4, -1.5, -1.6])
    assert fall.place(falls, counted) == 6
    assert fall.place(falls[3:], counted[3:]) == 3
    assert fall.place(np.array([-0.5, -1.4, -1.5]), counted[:3]) == 1


def test_gold_that_falls_together_with_the_proxy_is_no_collapse(pair: Study) -> None:
    gold = np.tile([0.7, 0.9, 0.9, 0.1, 0.1, 0.1], (2, 1))
    proxy = np.array([[-0.4, 0.0, 0.1, 0.2, 0.2, 0.2], [-0.4, 0.0, 0.1, -0.5, -0.5, -0.5]])
    fallen = with_curve(pair, "reward/gold", gold)
    found = collapses(with_curve(fallen, "reward/proxy", proxy))["gold"]
    assert found[0] == 3 and np.isnan(found[1])


def test_a_score_is_measured_from_its_own_zero_where_seeds_have_reward_models_of_their_own() -> None:
    # Gold falls at iteration 20 in both seeds; the score rises by 1 in the seed whose reward model
    # begins at −5, and falls by 1 in the one whose begins at 5, where nothing was over-optimised.
    zeros, step = np.array([[-5.0], [5.0]]), np.arange(40) >= 20
    score = zeros + np.array([[1.0], [-1.0]]) * (np.arange(40) > 0)
    gold = np.broadcast_to(1.0 - 4.0 * step, (2, 40))
    curves = {"reward/gold": {"a": gold}, "reward/proxy": {"a": score}}
    made = made_study({"final/gold": np.ones((2, 1))}, ["a"], curves=curves)
    own = replace(made, runs=made.runs.assign(reward_model=["first", "second"]))
    assert collapses(own)["collapse"].tolist() == [20, pytest.approx(np.nan, nan_ok=True)]
    shared = replace(made, runs=made.runs.assign(reward_model=["one", "one"]))
    assert collapses(shared)["collapse"].tolist() == [pytest.approx(np.nan, nan_ok=True), 20]


def test_a_win_rate_below_one_half_is_a_collapse_where_gold_holds(
    make_study: Callable[[Plan], Study],
) -> None:
    study = make_study(Plan({"a": Arm()}, seeds=(0,), iterations=60, noise=0.0))
    rate = np.array([0.5, *[0.6] * 8, *[0.4] * 4])  # evaluations every five iterations
    row = collapses(with_curve(study, "eval/win_rate", rate)).iloc[0]
    assert np.isnan(row["gold"]) and row["win_rate"] == row["collapse"] == 45
    assert row["rule"] == "win rate"


@pytest.mark.parametrize(("lowest", "collapse"), [(0.4125, np.nan), (0.40, 45.0)])
def test_a_win_rate_has_the_noise_of_a_share_of_the_prompts(
    make_study: Callable[[Plan], Study], lowest: float, collapse: float
) -> None:
    # 128 prompts: e = ½/√128 = 0.0442, bar = 0.5 − 2·e = 0.4116; the curve alone has no noise
    study = make_study(Plan({"a": Arm()}, seeds=(0,), iterations=60, noise=0.0))
    study = replace(study, runs=study.runs.assign(**{"ppo.eval_prompts": "128"}))
    rate = np.array([*[0.5] * 9, *[lowest] * 4])
    found = collapses(with_curve(study, "eval/win_rate", rate))["win_rate"]
    assert found.tolist() == pytest.approx([collapse], nan_ok=True)


def test_without_a_judge_the_monitors_call_the_collapse(make_study: Callable[[Plan], Study]) -> None:
    study = make_study(replace(QUICKSTART, gold=False, noise=0.0))
    table = collapses(study)
    # Perplexity is 2.4 + 0.3·(t − (at − 5)): above twice its start from t = at − 5 + 8 + 1 on.
    planted = np.array(QUICKSTART.arms["vanilla"].collapse)
    assert table.loc[table["arm"] == "vanilla", "collapse"].tolist() == (planted + 4).tolist()
    assert set(table.loc[table["arm"] == "vanilla", "rule"]) == {"monitors"}
    assert table["gold"].isna().all() and table["win_rate"].isna().all()


@pytest.mark.parametrize("value", [1e9, np.nan, np.inf])
def test_a_policy_whose_kl_is_no_number_has_collapsed_there(pair: Study, value: float) -> None:
    kl = np.tile([0.0, 0.1, 0.2, 0.3, value, value], (2, 1))
    table = collapses(with_curve(pair, "policy/kl_to_sft", kl))
    assert table["collapse"].tolist() == [4, 4] and set(table["rule"]) == {"diverged"}


def test_tags_that_the_curves_contradict_are_named(study: Study) -> None:
    changed = study.runs.copy()
    is_first = changed["seed"] == 0
    changed.loc[is_first & (changed["arm"] == "vanilla"), "outcome"] = "ok"
    changed.loc[is_first & (changed["arm"] == "ppo_max"), "outcome"] = "collapsed"
    table = collapses(replace(study, runs=changed))
    assert (~table["agrees"].astype(bool)).sum() == 2
    first, second = disagreements(table)
    assert first.startswith("vanilla/s0 was not tagged as collapsed; by its curves it did, at ")
    assert second == "ppo_max/s0 was tagged as collapsed; its curves show no collapse."


def test_a_run_that_has_not_ended_cannot_disagree(make_study: Callable[[Plan], Study]) -> None:
    plan = replace(QUICKSTART, stop={"vanilla/s0": 50})
    table = collapses(make_study(plan))
    assert table["collapse"].notna().sum() == 5 and table["agrees"].all()


def test_only_the_curves_decide_when(study: Study) -> None:
    untagged = study.runs.assign(outcome="ok", collapse_iteration=np.nan)
    again = collapses(replace(study, runs=untagged))["collapse"]
    np.testing.assert_array_equal(again, collapses(study)["collapse"])
