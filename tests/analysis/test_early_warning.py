from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.runs import Study
from analysis.traces import ITERATION, JUDGED, Traces
from analysis.warnings.early_warning import scores_of, warning_scores
from tests.analysis.synthetic_store import QUICKSTART, Plan
from tests.calibration.warnings import Leading, simulate, walk, white


def at_20(traces: Traces) -> pd.DataFrame:
    """Scores at 20 iterations by monitor."""
    return scores_of(traces, (20,)).set_index("monitor")


@pytest.mark.parametrize("make", [white, walk])
def test_noise_tells_nothing_and_its_intervals_say_so(make: Callable[..., np.ndarray]) -> None:
    noise = {f"noise {i}": make for i in range(80)}
    found = at_20(simulate(noise, fell=8, held=8, seed=3)).drop(ITERATION)
    # 80 monitors of one set of collapses: the mean is within 0.5 ± 0.05, nine in ten are covered.
    assert found["auroc"].mean() == pytest.approx(0.5, abs=0.05)
    assert ((found["low"] <= 0.5) & (found["high"] >= 0.5)).mean() > 0.9
    assert found["beats_iteration"].mean() < 0.05


def test_what_only_luck_tells_is_not_told_out_of_sample() -> None:
    # Labels permuted: the best of many directions in sample is above one half, out of sample not.
    traces = simulate({f"walk {i}": walk for i in range(150)}, fell=4, held=4, seed=1)
    shuffled = replace(traces, collapse=np.random.default_rng(5).permutation(traces.collapse))
    found = at_20(replace(shuffled, held=np.isnan(shuffled.collapse))).drop(ITERATION)
    in_sample = 0.5 + (0.5 * (found["low"] + found["high"]) - 0.5).abs()
    assert in_sample.mean() > 0.55
    assert found["auroc"].mean() == pytest.approx(0.5, abs=0.04)


def test_a_planted_indicator_is_found_whichever_way_it_moves() -> None:
    up = Leading(lead=30, slope=0.5)
    monitors = {"up": up, "down": lambda *given: -up(*given), "noise": white}
    found = at_20(simulate(monitors, fell=6, held=6, seed=0))
    assert found.loc[["up", "down"], "direction"].tolist() == ["up", "down"]
    assert (found.loc[["up", "down"], "auroc"] > 0.9).all()
    assert (found.loc[["up", "down"], "low"] > 0.6).all()
    assert found.loc["up", ["runs", "events", "held"]].tolist() == [12, 6, 6]


def test_a_monitor_that_tells_arms_apart_but_not_when_has_no_area_within_arms() -> None:
    def of_arm(rng: np.random.Generator, steps: np.ndarray, collapse: np.ndarray) -> np.ndarray:
        return white(rng, steps, collapse) + 10.0 * np.isfinite(collapse)[:, None] * (steps > 5)

    monitors = {"arm": of_arm, "lead": Leading(lead=30, slope=0.5)}
    traces = simulate(monitors, fell=6, held=6, seed=0)
    arms = np.where(np.isfinite(traces.collapse), "bad", "good")
    found = at_20(replace(traces, runs=traces.runs.assign(arm=arms)))
    assert found.loc["arm", "auroc"] > 0.8
    assert found.loc["arm", "within_arm"] == pytest.approx(0.5, abs=0.1)
    assert found.loc["lead", "within_arm"] > 0.9


def test_time_alone_is_scored_and_a_monitor_that_only_tells_the_time_does_not_beat_it() -> None:
    def clock(rng: np.random.Generator, steps: np.ndarray, collapse: np.ndarray) -> np.ndarray:
        return steps + 0.1 * white(rng, steps, collapse)

    monitors = {"clock": clock, "lead": Leading(lead=30, slope=0.5)}
    found = at_20(simulate(monitors, fell=20, held=20, seed=0))
    assert found.loc[ITERATION, "matched"] == 0.5
    assert found.loc["clock", "matched"] == pytest.approx(0.5, abs=0.1)
    assert found.loc["clock", "over_iteration"] == pytest.approx(0.0, abs=0.01)
    assert not found.loc["clock", "beats_iteration"]
    assert found.loc["lead", "beats_iteration"] and found.loc["lead", "matched"] > 0.8


def test_what_a_monitor_has_over_the_time_lies_in_its_interval() -> None:
    monitors = {f"{make.__name__} {i}": make for i in range(20) for make in (walk, white)}
    found = at_20(simulate(monitors, fell=10, held=10, seed=1))
    for over in ("over", "within_over"):
        estimate = found[f"{over}_iteration"]
        assert estimate.between(found[f"{over}_low"], found[f"{over}_high"]).all()


def test_a_run_that_ended_too_early_to_know_counts_only_while_it_is_known() -> None:
    traces = simulate({"noise": white}, fell=4, held=4, seed=0)
    cut = replace(traces, last=np.where(traces.held, 60.0, traces.last))
    whole, short = at_20(traces), at_20(cut)
    assert short.loc["noise", "events"] == whole.loc["noise", "events"] == 4
    assert short.loc["noise", "auroc"] != whole.loc["noise", "auroc"]


@pytest.mark.parametrize(("fell", "held"), [(1, 5), (5, 1), (0, 3)])
def test_too_few_runs_to_learn_from_are_said_and_not_scored(fell: int, held: int) -> None:
    row = at_20(simulate({"noise": white}, fell=fell, held=held, seed=0)).loc["noise"]
    assert np.isnan(row["auroc"]) and np.isnan(row["within_arm"])
    assert "can be learnt and tried from 2 of each on" in row["note"]
    assert f"{fell} run{'' if fell == 1 else 's'} seen to collapse and {held} that held" in row["note"]


def test_every_monitor_of_a_study_is_scored_at_every_horizon(study: Study) -> None:
    found = warning_scores(study)
    recorded = {n for n in study.metric_names if n.startswith(("policy/", "reward/", "ppo/", "eval/"))}
    assert set(found["monitor"]) == recorded | {ITERATION}
    assert (found.groupby("monitor")["horizon"].agg(list).map(tuple) == (10, 20, 40)).all()
    assert set(found.loc[found["judged"], "monitor"]) == JUDGED & recorded
    planted = found[(found["monitor"] == "policy/kl_to_sft") & (found["horizon"] == 10)].iloc[0]
    assert planted["auroc"] > 0.95 and planted["direction"] == "up"


def test_a_study_without_runs_has_no_scores_but_notes(make_study: Callable[[Plan], Study]) -> None:
    empty = make_study(replace(QUICKSTART, failed={"vanilla/s0": "killed"}, seeds=(0,)))
    found = warning_scores(empty)
    assert found["auroc"].isna().all() and (found["note"] != "").all()
