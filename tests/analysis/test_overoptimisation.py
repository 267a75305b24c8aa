import numpy as np
import pandas as pd
import pytest

from analysis.overoptimisation import (
    DIPS,
    FALLS,
    FIT_COLUMNS,
    PEAKS,
    RISES,
    fit,
    fit_sentence,
    overoptimisation,
    reward_path,
)
from analysis.runs import Study
from tests.analysis.made_study import made_study

GOLD, KL = "final/gold", "final/kl_to_sft"
ALPHA, BETA = 1.2, 0.5


def gain(d: np.ndarray, alpha: float = ALPHA, beta: float = BETA) -> np.ndarray:
    return np.where(d > 0, d * (alpha - beta * np.log(np.maximum(d, 1e-12))), 0.0)


def overoptimised(noise: float = 0.0, seeds: int = 5, largest: float = 60.0) -> Study:
    """Gold 0.7 + R(√KL) as KL climbs at its own pace in each seed; proxy rises without end."""
    rng = np.random.default_rng(0)
    kl = np.linspace(0.0, largest, 31)[None] * rng.uniform(0.7, 1.0, (seeds, 1))
    kl[:, -1] = kl[:, -2]  # the last evaluation follows the last rollout
    d = np.sqrt(kl)
    gold = 0.7 + gain(d) + noise * rng.normal(size=d.shape) * (d > 0)
    return made_study(
        {GOLD: gold[:, -1:], KL: kl[:, -1:]},
        ["arm"],
        curves={
            "eval/gold": {"arm": gold},
            "eval/proxy": {"arm": 2.0 * d},
            "policy/kl_to_sft": {"arm": kl[:, :-1]},
        },
    )


def fitted(study: Study, source: str = "gold") -> pd.Series:
    return overoptimisation(study).set_index("source", drop=False).loc[source]


def test_a_planted_curve_is_found_exactly_with_its_peak() -> None:
    row = fitted(overoptimised())
    np.testing.assert_allclose([row["alpha"], row["beta"]], [ALPHA, BETA], rtol=1e-9)
    # log d* = α/β − 1 = 1.4: KL* = e^2.8 = 16.44465, R* = β d* = ½ e^1.4 = 2.027600
    np.testing.assert_allclose([row["peak_kl"], row["peak_value"]], [16.44465, 2.0276], rtol=1e-6)
    np.testing.assert_allclose([row["alpha_low"], row["alpha_high"]], [ALPHA, ALPHA], rtol=1e-6)
    assert row["shape"] == PEAKS and row["n"] == 5
    np.testing.assert_allclose(row["r2"], 1.0, rtol=1e-9)


def test_a_curve_without_a_peak_has_none() -> None:
    row = fitted(overoptimised(), "proxy")
    np.testing.assert_allclose([row["alpha"], row["beta"]], [2.0, 0.0], atol=1e-9)
    assert row["r2"] == pytest.approx(1.0)
    rising = pd.Series({**row, "beta": -0.1, "peak_kl": np.nan})
    assert "rises with √KL throughout" in fit_sentence(rising)


@pytest.mark.parametrize(
    ("alpha", "beta", "shape", "said"),
    [
        # R' = α − β (1 + log d), at √KL of 0.5 and 2: 1 + log d = 0.307 and 1.693
        (-1.0, -0.3, FALLS, "arm: gold falls with √KL throughout"),
        (-1.0, 0.3, FALLS, "arm: gold falls with √KL throughout"),
        (1.0, 0.3, RISES, "arm: gold would peak at a KL of 106 nats"),
        (1.0, 0.0, RISES, "arm: gold rises with √KL throughout"),
        (1.0, 1.0, PEAKS, "arm: gold peaks at a KL of 1.00 nats"),
        (-1.0, -1.0, DIPS, "arm: gold falls as far as a KL of 1.00 nats/response, then rises"),
    ],
)
def test_the_fitted_curve_is_said_as_it_runs_where_the_runs_were(
    alpha: float, beta: float, shape: str, said: str
) -> None:
    d = np.linspace(0.5, 2.0, 20)
    row = pd.Series(
        {"arm": "arm", "source": "gold"} | fit([np.stack([d, gain(d, alpha, beta)], axis=1)] * 3)
    )
    assert row["shape"] == shape
    assert fit_sentence(row).startswith(said)


def test_a_turn_below_the_least_kl_that_is_one_is_none() -> None:
    d = np.linspace(1e-4, 2.0, 50)  # KL from 1e-8 on
    turn = 0.5 * np.log(1e-3) - 1  # log d at which R' = α − β (1 + log d) is 0: KL 1e-3 / e²
    alpha, beta = -0.5 * (turn + 1), -0.5
    row = fit([np.stack([d, gain(d, alpha, beta)], axis=1)] * 3)
    assert row["shape"] == RISES


def test_a_peak_that_no_run_reached_is_called_an_extrapolation() -> None:
    row = fitted(overoptimised(largest=9.0))
    assert row["shape"] == RISES
    assert "would peak at a KL of 16.4 nats/response" in fit_sentence(row)
    assert "so that this is an extrapolation" in fit_sentence(row)


def test_noise_gives_intervals_that_hold_the_truth() -> None:
    row = fitted(overoptimised(noise=0.1))
    for name, truth in (("alpha", ALPHA), ("beta", BETA), ("peak_kl", 16.44465)):
        assert row[f"{name}_low"] < truth < row[f"{name}_high"]
        assert row[f"{name}_high"] > row[f"{name}_low"]


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    # A fit through one point a run at d = 1 (log d = 0) has α = mean R: jackknife = ± t s/√n.
    runs = [np.array([[1.0, r]]) for r in (1.0, 2.0, 6.0)]
    found = fit(runs)
    # s² = 7: 3 ± 4.302653·√(7/3) = 3 ± 6.572411
    np.testing.assert_allclose(
        [found["alpha_low"], found["alpha_high"]], [-3.572411, 9.572411], rtol=1e-6
    )


def test_two_seeds_have_a_fit_and_no_interval() -> None:
    row = overoptimisation(overoptimised(seeds=2)).iloc[0]
    assert row["alpha"] == pytest.approx(ALPHA) and np.isnan(row["alpha_low"])


def test_a_run_without_its_start_or_without_kl_is_not_fitted() -> None:
    study = made_study({GOLD: np.zeros((3, 1))}, ["arm"], curves={"eval/gold": {"arm": np.ones((3, 9))}})
    table = overoptimisation(study)
    assert len(table) == 0 and list(table.columns) == FIT_COLUMNS


def test_a_path_pairs_each_evaluation_with_the_rollout_that_follows_it() -> None:
    curves = {
        "eval/gold": {"arm": np.array([[1.0, 2.0, 4.0]])},
        "policy/kl_to_sft": {"arm": np.array([[0.0, 9.0]])},
    }
    study = made_study({GOLD: np.zeros((1, 1))}, ["arm"], curves=curves)
    assert reward_path(study, "arm/s0", "eval/gold").tolist() == [
        [3.0, 1.0],
        [3.0, 3.0],
    ]
