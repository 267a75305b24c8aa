from collections.abc import Callable
from dataclasses import replace

import numpy as np

from analysis.runs import Study
from analysis.traces import ITERATION, JUDGED, label, traces_of
from tests.analysis.synthetic_store import QUICKSTART, Plan
from workbench.glossary import GLOSSARY


def test_a_row_is_a_run_and_evaluations_stand_until_the_next(study: Study) -> None:
    traces = traces_of(study)
    assert traces.steps.tolist() == list(range(60)) and len(traces.runs) == 10
    run = traces.runs.index[traces.runs["arm"] == "vanilla"][0]
    at, values = study.series(str(traces.runs.loc[run, "run_id"]), "eval/gold")
    held = traces.values("eval/gold")[run]
    assert at[:3].tolist() == [0, 5, 10]
    np.testing.assert_array_equal(held[:10], np.repeat(values[:2], 5))


def test_collapsed_and_held_runs_are_those_of_the_curves(study: Study) -> None:
    traces = traces_of(study)
    assert (traces.runs.loc[traces.fell, "arm"] == "vanilla").all() and traces.fell.sum() == 5
    assert (traces.runs.loc[traces.held, "arm"] == "ppo_max").all() and traces.held.sum() == 5
    assert traces.monitors == tuple(sorted(traces.monitors))
    assert not any(name.startswith(("time/", "final/")) for name in traces.monitors)


def test_nothing_is_known_after_a_runs_last_iteration(make_study: Callable[[Plan], Study]) -> None:
    traces = traces_of(make_study(replace(QUICKSTART, stop={"ppo_max/s1": 20})))
    [run] = np.flatnonzero(traces.last == 19)
    for monitor in ("policy/kl_to_sft", "eval/gold", ITERATION):
        known = np.isfinite(traces.values(monitor)[run])
        assert known[:20].all() and not known[20:].any()
    assert not traces.held[run] and not traces.fell[run]


def test_runs_that_recorded_nothing_are_left_out(make_study: Callable[[Plan], Study]) -> None:
    traces = traces_of(make_study(replace(QUICKSTART, failed={"vanilla/s0": "out of memory"})))
    assert len(traces.runs) == 9


def test_values_that_are_not_finite_count_as_not_recorded(study: Study) -> None:
    values = study.metrics["value"].to_numpy(copy=True)
    is_kl = (study.metrics["metric"] == "policy/kl_to_sft").to_numpy()
    values[is_kl & (study.metrics["step"] == 7).to_numpy()] = np.nan
    traces = traces_of(replace(study, metrics=study.metrics.assign(value=values)))
    kl = traces.values("policy/kl_to_sft")
    np.testing.assert_array_equal(kl[:, 7], kl[:, 6])


def test_whatever_asks_the_gold_judge_is_known_for_it() -> None:
    words = {"gold", "gap", "win", "tie", "loss"}
    asked = {
        name
        for name in GLOSSARY
        if name.startswith(("reward/", "eval/")) and words & set(name.partition("/")[2].split("_"))
    }
    assert asked == JUDGED


def test_a_monitor_that_the_glossary_lacks_bears_its_own_name() -> None:
    assert label("policy/response_length") == "response length"
    assert label("policy/of_my_own") == "policy/of_my_own"
