"""Sentences of the report on studies of many arms."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.page.findings import FEW_ARMS, findings
from analysis.selection import MAX_ARMS
from analysis.tables import tables_of
from tests.analysis.made_study import made_study


def said(arms: int, seeds: int) -> list[str]:
    """Return what is said against the first arm of a made study: arm i ends i − 2 above it."""
    gold = np.arange(arms) - 2.0 + 0.1 * np.random.default_rng(0).normal(size=(seeds, arms))
    gold[:, 0] = 0.0
    names = ["base", *(f"arm_{i}" for i in range(1, arms))]
    made = made_study({"final/gold": gold}, names, name="many")
    study = replace(made, runs=made.runs.assign(start_ms=0, end_ms=1000, collapse_reason=""))
    return [one.text for one in findings(study, tables_of(study))["Against base"]]


def test_arms_are_counted_with_what_holm_leaves_of_their_differences() -> None:
    # One arm is 1 below, one as the base, seven are 1 to 7 above; 10 seeds give p of 2/1024, times 9.
    counted = said(arms=10, seeds=10)[0]
    assert counted == (
        "Final gold score: of 9 arms, 7 are above base and 1 below by their intervals, "
        "8 of them after Holm's correction as well; of 1 no difference was found."
    )


def test_where_seeds_are_too_few_for_holm_intervals_are_all_that_is_counted() -> None:
    counted = said(arms=10, seeds=5)[0]
    assert "1 below by their intervals; of 1 no" in counted


def test_few_arms_are_spoken_of_one_by_one() -> None:
    assert not any(" arms, " in text for text in said(arms=MAX_ARMS, seeds=10))


@pytest.mark.parametrize(("arms", "folded"), [(FEW_ARMS, 0), (FEW_ARMS + 1, FEW_ARMS)])
def test_of_some_arms_all_but_outcome_and_kl_is_folded_away(arms: int, folded: int) -> None:
    values = np.arange(arms) + np.zeros((5, 1))
    metrics = {name: values for name in ("final/gold", "final/kl_to_sft", "final/proxy")}
    made = made_study(metrics, [f"arm_{i}" for i in range(arms)])
    study = replace(made, runs=made.runs.assign(start_ms=0, end_ms=1000, collapse_reason=""))
    told = findings(study, tables_of(study))["Against arm_0"]
    minor = [one.text for one in told if one.is_minor]
    assert len(minor) == folded and all("reward-model score" in text for text in minor)


def test_runs_are_counted_as_collapsed_by_their_curves_whatever_they_were_tagged() -> None:
    gold = {"base": np.ones((3, 40)), "falls": np.repeat([[1.0, -9.0]], 20, axis=1).repeat(3, axis=0)}
    made = made_study({"final/gold": np.ones((3, 2))}, list(gold), curves={"reward/gold": gold})
    tagged = ["collapsed"] * 3 + ["ok"] * 3
    times = {"start_ms": 0, "end_ms": 1000, "collapse_reason": ""}
    study = replace(made, runs=made.runs.assign(outcome=tagged, **times))
    told = [one.text for one in findings(study, tables_of(study))["Which arms collapsed, and when"]]
    assert told[0].startswith("base held: none of 3 runs collapsed")
    assert told[1].startswith("falls collapsed in 3 of 3 runs, at iteration 20 (")
