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


def test_gap_and_tax_are_changes_from_the_start_to_the_end(make_study: Callable[[Plan], Study]) -> None:
    row = stability.stability_table(make_study(Plan({"a": Arm(0.8)}, seeds=(0,), noise=0.0))).iloc[0]
    learnt = 1 - np.exp(-60 / 8)  # the last tenth of the evaluations is the one at 60
    # Proxy gains 1.2 in deviations of 1.1, gold 0.8 in deviations of 0.9; perplexity 3 gains 0.3.
    assert row["gap"] == pytest.approx((1.2 / 1.1 - 0.8 / 0.9) * learnt)
    assert row["alignment_tax"] == pytest.approx(0.3 * learnt)
    assert row["alignment_tax_share"] == pytest.approx(0.1 * learnt)


def test_without_spreads_of_the_start_the_gap_is_the_recorded_one(
    make_study: Callable[[Plan], Study],
) -> None:
    study = make_study(Plan({"a": Arm(0.8)}, seeds=(0,), noise=0.0))
    gap = study.series(str(study.runs["run_id"][0]), "reward/gap")[1]
    row = stability.stability_table(replace(study, prepared={})).iloc[0]
    assert row["gap"] == pytest.approx(gap[-6:].mean())


def test_drift_and_spikes_are_tabulated_for_every_run_and_monitor(study: Study) -> None:
    table = stability.drift_table(study)
    kl = table[table["monitor"] == "policy/kl_to_sft"].set_index(["arm", "seed"])
    assert len(kl) == 10 and (kl["points"] == 60).all()
    # After the planted departure KL rises by 3 an iteration: 300 per 100 iterations.
    assert kl.loc["vanilla", "drift"].to_numpy() == pytest.approx(300, rel=0.05)
    assert np.abs(kl.loc["ppo_max", "drift"].to_numpy()).max() < 10
    assert set(table["monitor"]) >= {"eval/held_out_perplexity", "ppo/value_loss", "reward/proxy"}


def test_drift_is_taken_over_what_a_run_recorded(make_study: Callable[[Plan], Study]) -> None:
    table = stability.drift_table(make_study(replace(QUICKSTART, stop={"vanilla/s0": 20})))
    points = table[table["monitor"] == "policy/kl_to_sft"].set_index(["arm", "seed"])["points"]
    assert points.loc[("vanilla", 0)] == 20 and (points.drop(("vanilla", 0)) == 60).all()
