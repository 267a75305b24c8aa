from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from analysis import stability
from analysis.runs import Study
from tests.analysis.synthetic_store import (
    QUICKSTART,
    Arm,
    Plan,
)


def test_the_table_holds_start_best_and_final_gold(make_study: Callable[[Plan], Study]) -> None:
    # Without noise gold is 0.7 + gain·(1 − e^{−t/8}), largest at the last evaluation, t = 60.
    row = stability.stability_table(make_study(Plan({"a": Arm(0.8)}, seeds=(0,), noise=0.0))).iloc[0]
    end = 0.7 + 0.8 * (1 - np.exp(-7.5))
    assert row["start_gold"] == pytest.approx(0.7, rel=1e-12)
    assert row["best_gold"] == row["final_gold"] == pytest.approx(end, rel=1e-12)
    assert row["best_gold_iteration"] == 60
    assert row["last_iteration"] == 60
    assert row["seconds"] == 45


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
