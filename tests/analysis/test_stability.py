from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from analysis import stability
from analysis.runs import Study
from tests.analysis.synthetic_store import (
    KL_LEAD,
    LENGTH_LEAD,
    PERPLEXITY_LEAD,
    QUICKSTART,
    Arm,
    Plan,
)


def test_a_streak_begins_where_three_in_a_row_begin() -> None:
    assert stability.first_streak([False, True, True, False, True, True, True, True]) == 4
    assert stability.first_streak([True, True, False, True, True]) is None
    assert stability.first_streak([]) is None


def test_noise_is_measured_from_differences_so_that_a_trend_is_none() -> None:
    # A line has equal differences. Differences 1, 3, 1, 3, 1: median 1, deviations 0, 2, 0, 2, 0.
    assert stability.noise_scale(np.arange(10.0)) == 0.0
    assert stability.noise_scale(np.array([0.0, 1, 4, 5, 8])) == pytest.approx(1.4826 / np.sqrt(2))
    assert np.isnan(stability.noise_scale(np.array([1.0, 2.0])))


def test_planted_collapses_are_found_within_one_iteration(study: Study) -> None:
    table = stability.stability_table(study)
    planted = QUICKSTART.arms["vanilla"].collapse
    found = table.loc[table["arm"] == "vanilla", "gold_falls"].to_numpy()
    assert np.abs(found - np.array(planted, float)).max() <= 1
    assert table.loc[table["arm"] == "ppo_max", "gold_falls"].isna().all()


def with_gold(study: Study, gold: np.ndarray) -> Study:
    """Put these curves [runs, T] in the place of each run's gold."""
    metrics = study.metrics[study.metrics["metric"] == "reward/gold"].copy()
    return replace(study, metrics=metrics.assign(value=gold.ravel()))


@pytest.fixture
def many(make_study: Callable[[Plan], Study]) -> Study:
    return make_study(Plan({"a": Arm()}, seeds=tuple(range(200)), iterations=60))


def test_noise_around_the_start_is_rarely_taken_for_a_fall(many: Study) -> None:
    # σ₀ = 0.9 and 128 responses: gold stays at 0.7 with the standard error of a rollout's mean.
    error = 0.9 / np.sqrt(128)
    flat = with_gold(many, 0.7 + error * np.random.default_rng(2).normal(size=(200, 60)))
    falls = [stability.gold_fall(flat, run_id) for run_id in flat.runs["run_id"]]
    assert np.isfinite(falls).mean() < 0.03


def test_a_fall_is_measured_from_the_mean_start_of_all_seeds(
    make_study: Callable[[Plan], Study],
) -> None:
    study = make_study(Plan({"a": Arm()}, seeds=(0, 1), iterations=6))
    # start (0.6 + 0.8)/2 = 0.7; e = 0.9/√128 = 0.0795; bar = 0.7 − 2·e·√1.5 = 0.505
    gold = np.array([[0.6, 0.5, 0.5, 0.51, 0.5, 0.5], [0.8, 0.9, 0.9, 0.5, 0.5, 0.5]])
    changed = with_gold(study, gold)
    falls = [stability.gold_fall(changed, run_id) for run_id in changed.runs["run_id"]]
    assert np.isnan(falls[0]) and falls[1] == 3


def test_a_monitor_outside_the_healthy_range_from_the_start_does_not_warn(study: Study) -> None:
    # Vanilla's policy loss moved far off: other arms never were there, but it was there at once.
    is_moved = (study.metrics["metric"] == "ppo/policy_loss") & (study.metrics["arm"] == "vanilla")
    moved = study.metrics["value"] + 5.0 * is_moved
    found = stability.warnings(replace(study, metrics=study.metrics.assign(value=moved)))
    own = found[(found["monitor"] == "ppo/policy_loss") & (found["rule"] == stability.HELD_RANGE)]
    assert len(own) == 5 and own["first"].isna().all()


def test_the_table_holds_start_best_and_final_gold(make_study: Callable[[Plan], Study]) -> None:
    # Without noise gold is 0.7 + gain·(1 − e^{−t/8}), largest at the last evaluation, t = 60.
    row = stability.stability_table(make_study(Plan({"a": Arm(0.8)}, seeds=(0,), noise=0.0))).iloc[0]
    end = 0.7 + 0.8 * (1 - np.exp(-7.5))
    assert row["start_gold"] == pytest.approx(0.7, rel=1e-12)
    assert row["best_gold"] == row["final_gold"] == pytest.approx(end, rel=1e-12)
    assert row["best_gold_iteration"] == 60
    assert row["last_iteration"] == 60
    assert row["seconds"] == 45


def test_monitors_warn_as_long_before_the_fall_as_planted(study: Study) -> None:
    ranking = stability.warning_ranking(stability.warnings(study))
    best = ranking[ranking["rule"] == stability.HELD_RANGE].set_index("monitor")
    # A monitor departs in the iteration after late − lead, hence one less.
    planted = {
        "policy/kl_to_sft": KL_LEAD - 1,
        "policy/response_length": LENGTH_LEAD - 1,
        "policy/perplexity": PERPLEXITY_LEAD - 1,
    }
    assert best.loc[list(planted), "lead_median"].tolist() == list(planted.values())
    assert best["announced"].to_dict()["policy/kl_to_sft"] == 5
    assert best["announced"].to_dict()["ppo/policy_loss"] == 0
    assert best.index[:2].tolist() == ["policy/kl_to_sft", "policy/response_length"]


def test_leaving_ones_own_start_is_counted_in_runs_that_held_too(study: Study) -> None:
    ranking = stability.warning_ranking(stability.warnings(study))
    own = ranking[ranking["rule"] == stability.OWN_BAND].set_index("monitor")
    assert own.loc["policy/kl_to_sft", ["held", "false_alarms"]].tolist() == [5, 5]
    assert own.loc["policy/perplexity", ["held", "false_alarms"]].tolist() == [5, 0]
    # 5/5 − 5/5 and 5/5 − 0/5: a warning that comes in every run is no news
    assert own.loc[["policy/kl_to_sft", "policy/perplexity"], "informedness"].tolist() == [0, 1]
    assert own.index[0] == "policy/perplexity"


def test_without_three_runs_that_held_there_is_no_healthy_range(
    make_study: Callable[[Plan], Study],
) -> None:
    found = stability.warnings(make_study(replace(QUICKSTART, seeds=(0, 1))))
    assert set(found["rule"]) == {stability.OWN_BAND}


def test_without_gold_the_tagged_collapse_is_the_event(make_study: Callable[[Plan], Study]) -> None:
    found = stability.warnings(make_study(replace(QUICKSTART, gold=False)))
    kl = found[(found["rule"] == stability.HELD_RANGE) & (found["monitor"] == "policy/kl_to_sft")]
    assert kl["event"].tolist() == [30, 34, 38, 32, 36]
    assert kl["lead"].tolist() == [KL_LEAD - 1] * 5


def test_survival_falls_by_a_fifth_at_each_of_five_collapses(study: Study) -> None:
    table = stability.survival(study)
    vanilla = table[table["arm"] == "vanilla"]
    assert vanilla["iteration"].tolist() == [0, 30, 32, 34, 36, 38]
    np.testing.assert_allclose(vanilla["survival"], [1, 0.8, 0.6, 0.4, 0.2, 0], atol=1e-12)
    assert table.loc[table["arm"] == "ppo_max", "survival"].tolist() == [1.0, 1.0]


def test_a_run_still_going_is_censored_where_it_stands(make_study: Callable[[Plan], Study]) -> None:
    # One run collapses at 30, one stands at 20, one held to 60: two are at risk at 30, S = 1/2.
    plan = Plan({"a": Arm(collapse=(30,))}, seeds=(0, 1, 2), stop={"a/s1": 20})
    table = stability.survival(make_study(plan)).set_index("iteration")
    assert table.loc[30.0, "at_risk"] == 2
    assert table.loc[30.0, "survival"] == pytest.approx(0.5)
