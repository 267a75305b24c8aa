import numpy as np
import pandas as pd
import pytest

from analysis.comparison import FOUND, NONE, TOO_FEW, Pair, compare, probability_of_improvement


def pair(own: list[float], other: list[float], metric: str = "final/gold") -> Pair:
    return Pair("b", "a", metric, pd.Series(own), pd.Series(other))


def chance(own: list[float], other: list[float]) -> tuple[float, float, float]:
    found = probability_of_improvement(np.array(own)[:, None], np.array(other)[:, None])
    return float(found.estimate[0]), float(found.low[0]), float(found.high[0])


def test_a_paired_difference_removes_what_seeds_share() -> None:
    # Seeds differ by 100, the arms by 1, 2 and 3: 2 ± 4.302653·1/√3 = 2 ± 2.484138
    row = compare([pair([1.0, 102.0, 203.0], [0.0, 100.0, 200.0])]).iloc[0]
    np.testing.assert_allclose([row["difference"], row["sd"]], [2.0, 1.0], rtol=1e-12)
    np.testing.assert_allclose([row["low"], row["high"]], [-0.484138, 4.484138], rtol=1e-6)
    assert row["n"] == 3 and row["p"] == 0.25 and row["verdict"] == NONE


def test_only_seeds_at_which_both_have_a_value_are_compared() -> None:
    own = pd.Series([1.0, 2.0, np.nan, 4.0, 9.0], index=[0, 1, 2, 3, 7])
    other = pd.Series([9.0, 4.0, 2.0, 1.0, 0.0], index=[8, 3, 2, 1, 0])
    row = compare([Pair("b", "a", "final/gold", own, other)]).iloc[0]
    # seeds 0, 1 and 3: 1 − 0, 2 − 1, 4 − 4
    assert row["n"] == 3
    np.testing.assert_allclose([row["difference"], row["mean"]], [2 / 3, 7 / 3], rtol=1e-12)


def test_a_pair_without_a_shared_seed_has_no_row_and_does_not_count_for_holm() -> None:
    table = compare([pair([1.0, 2, 3], [0.0, 0, 0]), pair([np.nan, 1, 2], [1.0, np.nan, np.nan])])
    assert len(table) == 1
    assert table.loc[0, "p_holm"] == table.loc[0, "p"] == 0.25
    assert list(compare([]).columns) == list(table.columns)


def test_the_verdict_is_what_the_interval_shows() -> None:
    found = compare([pair([1.0, 1.1, 0.9], [0.0] * 3), pair([1.0, -1.0, 0.5], [0.0] * 3)])
    assert found["verdict"].tolist() == [FOUND, NONE]
    assert compare([pair([1.0, 1.1], [0.0, 0.0])])["verdict"].tolist() == [TOO_FEW]


def test_the_iqm_of_the_differences_shrugs_off_one_seed_that_broke() -> None:
    row = compare([pair([1.0, 1.1, 1.2, 0.9, -50.0], [0.0] * 5)]).iloc[0]
    assert row["iqm"] == pytest.approx(1.0)
    assert row["difference"] < -9


def test_probability_of_improvement_counts_all_pairs_of_runs() -> None:
    # 2 > 1, 2 < 3, 4 > 1, 4 > 3: three of four;   ties count ½
    assert chance([2.0, 4], [1.0, 3])[0] == 0.75
    assert chance([1.0, 1, 1], [1.0, 1, 1])[0] == 0.5
    assert np.isnan(chance([2.0, 4], [1.0, 3])[1])


def test_the_chance_of_improvement_has_the_ends_that_its_equation_gives() -> None:
    estimate, low, high = chance([3.0, 5, 7, 9, 11], [1.0, 2, 4, 6, 8])
    assert estimate == 19 / 25
    for end in (low, high):
        spread = 1 + 4 * ((1 - end) / (2 - end) + end / (1 + end))
        score = (estimate - end) ** 2 / (end * (1 - end) * spread / 20)
        np.testing.assert_allclose(score, 1.959964**2, rtol=1e-5)


def test_complete_separation_of_five_runs_leaves_a_chance_of_being_wrong() -> None:
    estimate, low, high = chance([6.0, 7, 8, 9, 10], [1.0, 2, 3, 4, 5])
    assert (estimate, high) == (1.0, 1.0)
    assert 0.5 < low < 0.7


@pytest.mark.parametrize(("metric", "expected"), [("final/kl_to_sft", 0.0), ("final/gold", 1.0)])
def test_improvement_follows_the_direction_that_is_better(metric: str, expected: float) -> None:
    row = compare([pair([2.0, 3.0, 4.0], [0.0, 1.0, 1.5], metric)]).iloc[0]
    assert row["improvement"] == expected
    ends = sorted([row["improvement_low"], row["improvement_high"]])
    assert ends == [row["improvement_low"], row["improvement_high"]]
    assert expected in (row["improvement_low"], row["improvement_high"])


def test_a_metric_without_a_good_direction_has_no_improvement() -> None:
    row = compare([pair([2.0, 3.0, 4.0], [0.0, 1.0, 1.5], "final/response_length")]).iloc[0]
    assert np.isnan([row["improvement"], row["improvement_low"], row["improvement_high"]]).all()
