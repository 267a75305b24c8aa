from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from analysis.outcomes import outcome_table
from analysis.reward_model import accuracy_table, loss_table, margin_table
from analysis.runs import Study
from analysis.tables import tables_of
from tests.analysis.synthetic_store import QUICKSTART, Plan

FEWER = replace(QUICKSTART, seeds=(0, 1), iterations=40)


def test_shares_at_the_end_are_means_over_the_last_tenth_and_add_up_to_one(study: Study) -> None:
    table = tables_of(study).outcomes.set_index("arm")
    won = study.curves("eval/win", "vanilla")[1]  # [5, 13] evaluations, of which the last is a tenth
    assert table.loc["vanilla", "win"] == pytest.approx(won[:, -1].mean(), rel=1e-12)
    np.testing.assert_allclose(table[["win", "tie", "loss"]].sum(axis=1), 1.0, rtol=1e-12)
    rate = table["win"] + table["tie"] / 2
    np.testing.assert_allclose(table["win_rate"], rate, rtol=1e-12)
    assert table["n"].tolist() == [5, 5]


def test_runs_that_have_not_finished_are_not_counted(make_study: Callable[[Plan], Study]) -> None:
    study = make_study(replace(FEWER, stop={"vanilla/s0": 12, "vanilla/s1": 12, "ppo_max/s0": 12}))
    table = outcome_table(study, tables_of(study).arms)
    assert table["arm"].tolist() == ["ppo_max"]
    assert table["n"].tolist() == [1]


def test_without_shares_there_is_no_table(make_study: Callable[[Plan], Study]) -> None:
    study = make_study(replace(FEWER, drop=("eval/tie",)))
    assert len(outcome_table(study, tables_of(study).arms)) == 0


def test_accuracy_has_the_interval_of_a_share(study: Study) -> None:
    table = accuracy_table(study)
    # Wilson, 256 of 512: centre 0.5, half width z/√(n + z²) / 2 with z = 1.96: 1.96/√515.84/2 = 0.0431
    assert table.loc[0, ["accuracy", "low", "high"]].tolist() == pytest.approx(
        [0.5, 0.5 - 0.0431, 0.5 + 0.0431], abs=1e-4
    )
    assert table.iloc[-1][["step", "accuracy", "pairs"]].tolist() == [101, 0.655, 1000]


def test_a_reward_model_of_which_nothing_is_known_has_empty_tables(study: Study) -> None:
    unknown = replace(study, prepared={})
    for table in (accuracy_table(unknown), loss_table(unknown), margin_table(unknown)):
        assert len(table) == 0


def test_margins_are_counted_between_the_edges_of_their_bins(study: Study) -> None:
    table = margin_table(study)
    assert len(table) == 30 and table["pairs"].sum() == 1000
    assert (table["low"].to_numpy()[1:] == table["high"].to_numpy()[:-1]).all()
