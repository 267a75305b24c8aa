import numpy as np
import pytest
from scipy import stats

from analysis.comparison import FOUND, TOO_FEW
from analysis.designs import contrasts

PAIR = np.array([[-1.0, 1.0]])


def test_two_arms_and_many_seeds_are_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 2)) + 5 * rng.normal(size=(6, 1))
    found = contrasts.estimate(PAIR, values).iloc[0]
    expected = stats.ttest_rel(values[:, 1], values[:, 0])
    ends = expected.confidence_interval(0.95)
    np.testing.assert_allclose([found["low"], found["high"]], [ends.low, ends.high], rtol=1e-9)
    assert found["method"] == contrasts.SEEDS and found["n"] == 6


def test_pooling_two_arms_is_the_paired_t_test_as_well() -> None:
    # The residuals of arm + seed have n − 1 degrees of freedom, and half the variance of a difference.
    values = np.random.default_rng(1).normal(size=(4, 2))
    pooled = contrasts.estimate(PAIR, values).iloc[0]
    paired = contrasts.estimate(PAIR, values, contrasts.SEEDS).iloc[0]
    assert pooled["method"] == contrasts.POOLED
    for name in ("effect", "low", "high", "detectable"):
        np.testing.assert_allclose(pooled[name], paired[name], rtol=1e-9)
    np.testing.assert_allclose(pooled["p"], stats.ttest_rel(values[:, 1], values[:, 0]).pvalue)


def test_pooling_many_arms_is_the_analysis_of_variance_with_seeds_as_blocks() -> None:
    # Two seeds, three arms: residuals of arm + seed are ∓¼·(0, 2, −2)… worked by hand:
    # seeds differ by 1, 3, −1 (mean 1): residuals ±½(d − 1) = 0, ±1, ±1; RSS 2·(0 + 1 + 1) = 4, 2 d.f.
    values = np.array([[0.0, 1.0, 5.0], [1.0, 4.0, 4.0]])
    found = contrasts.estimate(np.array([[-1.0, 1.0, 0.0]]), values).iloc[0]
    # s² = 2; difference of two means of two: ± t₀.₉₇₅,₂ √(2·(½ + ½)) = 4.302653·√2 = 6.084870
    np.testing.assert_allclose(found["effect"], 2.0, rtol=1e-12)
    np.testing.assert_allclose([found["low"], found["high"]], [-4.084870, 8.084870], rtol=1e-6)


def test_pooling_with_missing_runs_is_least_squares_on_arms_and_seeds() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(3, 4)) + rng.normal(size=(3, 1))
    values[0, 1] = values[2, 3] = np.nan
    rows = np.array([[-1.0, 1.0, 0.0, 0.0], [0.5, -0.5, 0.5, -0.5]])
    found = contrasts.estimate(rows, values)
    seed_at, arm_at = np.nonzero(~np.isnan(values))
    design = np.hstack([np.eye(4)[arm_at], np.eye(3)[seed_at][:, 1:]])
    y = values[seed_at, arm_at]
    beta, rss, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    degrees = len(y) - rank
    covariance = np.linalg.inv(design.T @ design)[:4, :4] * rss[0] / degrees
    error = np.sqrt(np.diag(rows @ covariance @ rows.T))
    np.testing.assert_allclose(found["effect"], rows @ beta[:4], rtol=1e-9)
    half = stats.t.ppf(0.975, degrees) * error
    np.testing.assert_allclose(found["high"] - found["effect"], half, rtol=1e-9)


def test_a_seed_that_lacks_an_arm_is_left_out_of_the_contrasts_that_use_it() -> None:
    values = np.arange(18.0).reshape(6, 3) ** 1.5
    values[0, 2] = np.nan
    rows = np.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])
    found = contrasts.estimate(rows, values)
    assert found["n"].tolist() == [6, 5]
    np.testing.assert_allclose(found["effect"][1], (values[1:, 2] - values[1:, 0]).mean(), rtol=1e-12)


@pytest.mark.parametrize("method", [None, contrasts.SEEDS])
def test_one_seed_gives_an_effect_and_no_interval(method: str | None) -> None:
    found = contrasts.estimate(PAIR, np.array([[1.0, 3.0]]), method).iloc[0]
    assert found["effect"] == 2.0 and found["verdict"] == TOO_FEW and np.isnan(found["low"])


def test_an_effect_that_cannot_be_estimated_has_no_number() -> None:
    for seeds in (3, 6):
        values = np.random.default_rng(0).normal(size=(seeds, 2))
        found = contrasts.estimate(np.array([[-1.0, 1.0], [np.nan, np.nan]]), values)
        assert np.isnan(found.loc[1, ["effect", "low", "high", "p"]].astype(float)).all()
        assert found.loc[1, "verdict"] == TOO_FEW


def test_an_arm_without_runs_leaves_no_number_for_what_uses_it() -> None:
    values = np.random.default_rng(0).normal(size=(3, 3))
    values[:, 2] = np.nan
    found = contrasts.estimate(np.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]), values)
    assert np.isfinite(found["effect"][0]) and np.isnan(found["effect"][1])


def test_arms_of_different_seeds_that_nothing_links_are_not_compared() -> None:
    values = np.full((5, 3), np.nan)
    values[:2, 0] = [0.0, 0.1]  # arm 0 has seeds 0 and 1; arms 1 and 2 have 2 to 4, which score 5 more
    values[2:, 1:] = [[5.0, 5.2], [5.1, 5.2], [5.0, 5.1]]
    rows = np.array([[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0]])
    found = contrasts.estimate(rows, values)
    assert found["method"].unique().tolist() == [contrasts.POOLED]
    np.testing.assert_allclose(found["effect"], [np.nan, 0.4 / 3], rtol=1e-9)
    assert found["verdict"][0] == TOO_FEW and found["n"].tolist() == [0, 5]
    values[2, 0] = 4.9  # one seed that links them
    assert np.isfinite(contrasts.estimate(rows, values)["effect"]).all()


def test_seeds_of_which_no_run_ended_are_not_counted() -> None:
    values = np.random.default_rng(0).normal(size=(4, 2))
    values[3] = np.nan
    assert contrasts.estimate(PAIR, values)["n"].tolist() == [3]


def test_an_effect_far_from_zero_is_found_by_either_method() -> None:
    values = np.random.default_rng(0).normal(size=(6, 2)) * 0.1 + [0.0, 5.0]
    for method in (contrasts.SEEDS, contrasts.POOLED):
        assert contrasts.estimate(PAIR, values, method)["verdict"].tolist() == [FOUND]
