from dataclasses import replace

import numpy as np
import pytest

from analysis.runs import Study
from analysis.traces import ITERATION
from analysis.warnings.alarms import alarm_times, alarm_times_of, alarms, alarms_of, threshold_of
from analysis.warnings.early_warning import scores_of
from analysis.warnings.ranking import ranking, ranking_of
from tests.analysis.synthetic_store import KL_LEAD, LENGTH_LEAD, PERPLEXITY_LEAD
from tests.calibration.warnings import Leading, false_alarms, simulate, white


def test_the_threshold_is_the_conformal_quantile_of_the_healthy_maxima() -> None:
    furthest = np.arange(1.0, 40.0)  # 39 runs: ⌈0.95 · 40⌉ = the 38th smallest
    assert threshold_of(furthest, 0.05) == 38
    assert threshold_of(furthest[:19], 0.05) == 19  # ⌈0.95 · 20⌉ = 19
    assert threshold_of(furthest[:20], 0.05) == 20  # ⌈0.95 · 21⌉ = 20
    assert threshold_of(furthest[:5], 0.05) == 5  # too few for 5 %: their largest
    assert threshold_of(np.empty(0), 0.05) == np.inf


@pytest.mark.parametrize(("held", "promised"), [(5, 1 / 6), (19, 0.05)])
def test_a_further_run_that_holds_sets_off_the_alarm_as_rarely_as_promised(
    held: int, promised: float
) -> None:
    # 60 studies of 20 further runs; the standard error over studies is about 0.02
    assert false_alarms("random walk", held, 60) < promised + 0.05


@pytest.mark.parametrize(("lead", "slope", "way"), [(12, 20.0, "up"), (30, -20.0, "down")])
def test_the_alarm_of_a_planted_jump_comes_as_early_as_it_was_planted(
    lead: int, slope: float, way: str
) -> None:
    traces = simulate({"lead": Leading(lead=lead, slope=slope)}, fell=6, held=6, seed=0)
    row = alarms_of(traces).set_index("monitor").loc["lead"]
    assert row["direction"] == way and row["threshold"] * slope > 0
    # The jump is in the iteration after collapse − lead, and the median of three sees it one later.
    assert row["announced"] == row["falls"] == 6
    assert row["lead_median"] == row["lead_low"] == row["lead_high"] == lead - 2


def test_a_run_is_judged_by_a_threshold_that_it_had_no_part_in() -> None:
    traces = simulate({"noise": white, "lead": Leading()}, fell=4, held=4, seed=0)
    before = alarm_times_of(traces).set_index(["monitor", "run_id"])
    held = str(np.flatnonzero(traces.held)[0])
    values = traces.read("lead").copy()
    values[int(held), 60:] += 1000.0
    changed = replace(traces, read=lambda monitor: values, monitors=("lead",))
    after = alarm_times_of(changed).set_index(["monitor", "run_id"])
    own, others = ("lead", held), [run for run in before.loc["lead"].index if run != held]
    assert after.loc[own, "threshold"] == before.loc[own, "threshold"]
    assert after.loc[own, "first"] <= 61
    assert (after.loc["lead"].loc[others, "threshold"] > 900).all()


def test_of_few_runs_that_held_one_is_always_the_furthest() -> None:
    # Each is judged by the largest of the others: of noise without ties exactly one is over.
    traces = simulate({"noise": white}, fell=5, held=5, seed=1)
    row = alarms_of(traces).set_index("monitor").loc["noise"]
    assert row["false_alarms"] <= 2 and row["held"] == 5
    assert row["promised"] == pytest.approx(1 / 6)


def test_time_alone_announces_nothing() -> None:
    traces = simulate({"noise": white}, fell=5, held=5, seed=1)
    row = alarms_of(traces).set_index("monitor").loc[ITERATION]
    assert row["announced"] == 0 and row["false_alarms"] == 0


def test_an_alarm_after_the_collapse_is_none() -> None:
    def late(rng: np.random.Generator, steps: np.ndarray, collapse: np.ndarray) -> np.ndarray:
        return white(rng, steps, collapse) + 50.0 * (steps >= collapse[:, None])

    times = alarm_times_of(simulate({"late": late}, fell=5, held=5, seed=0))
    own = times[(times["monitor"] == "late") & ~times["held"]]
    assert (own["lead"].dropna() > 0).all()


def test_without_runs_of_both_kinds_there_are_no_alarms() -> None:
    for fell, held in ((1, 5), (5, 1)):
        traces = simulate({"noise": white}, fell=fell, held=held, seed=0)
        assert not len(alarm_times_of(traces)) and not len(alarms_of(traces))
        assert not len(ranking_of(scores_of(traces), alarms_of(traces)))


def test_a_planted_indicator_is_ranked_first_among_noise() -> None:
    noise = {f"noise {i}": white for i in range(20)}
    traces = simulate({**noise, "lead": Leading(lead=30, slope=0.5)}, fell=6, held=6, seed=2)
    table = ranking_of(scores_of(traces), alarms_of(traces))
    assert table.iloc[0]["monitor"] == "lead" and table.iloc[0]["telling"] > 0.9


def test_a_monitor_that_tells_the_arms_apart_at_once_is_ranked_behind_one_that_tells_when() -> None:
    def of_arm(rng: np.random.Generator, steps: np.ndarray, collapse: np.ndarray) -> np.ndarray:
        return white(rng, steps, collapse) + 50.0 * np.isfinite(collapse)[:, None] * (steps > 3)

    monitors = {"arm": of_arm, "lead": Leading(lead=30, slope=0.04)}
    traces = simulate(monitors, fell=6, held=6, seed=0)
    arms = np.where(np.isfinite(traces.collapse), "bad", "good")
    traces = replace(traces, runs=traces.runs.assign(arm=arms))
    table = ranking_of(scores_of(traces), alarms_of(traces)).set_index("monitor")
    assert table.loc["arm", "auroc"] > table.loc["lead", "auroc"]
    assert table.index[0] == "lead"


def test_the_planted_leads_of_a_study_are_measured_and_ranked(study: Study) -> None:
    table = ranking(study).set_index("monitor")
    planted = {
        "policy/kl_to_sft": KL_LEAD,
        "policy/response_length": LENGTH_LEAD,
        "policy/perplexity": PERPLEXITY_LEAD,
    }
    # A monitor departs in the iteration after late − lead; the median of three sees it one later,
    # and length has to leave what learning made of it in the runs that held.
    late = table.loc[list(planted), "lead_median"] - list(planted.values())
    assert late.between(-4, -1).all()
    assert (table.loc[list(planted), "announced"] == 5).all()
    assert table.index[0] == "policy/kl_to_sft"
    assert table.loc["policy/kl_to_sft", "telling"] > table.loc["ppo/policy_loss", "telling"]


def test_monitors_that_ask_the_judge_stand_last(study: Study) -> None:
    judged = ranking(study)["judged"].astype(bool).tolist()
    assert judged == sorted(judged) and any(judged)


def test_alarms_count_what_the_single_runs_did(study: Study) -> None:
    times, table = alarm_times(study), alarms(study).set_index("monitor")
    for monitor, group in times.groupby("monitor"):
        fell = group[~group["held"]]
        assert table.loc[monitor, "announced"] == fell["first"].notna().sum()
        assert table.loc[monitor, "false_alarms"] == group.loc[group["held"], "first"].notna().sum()
        assert (fell["lead"].dropna() == (fell["collapse"] - fell["first"]).dropna()).all()
