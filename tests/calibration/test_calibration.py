"""The calibrations at small size. Draws are seeded, so that a figure changes only with the code."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.intervals import mean_intervals
from analysis.loading import load
from analysis.values import final_values
from tests.calibration import coverage, false_findings, interval_methods, power, real_runs
from tests.calibration.__main__ import MODULES
from tests.calibration.draws import DRAWS, SEEDS, Array, percent
from tests.calibration.interval_methods import METHODS

EXAMPLE = Path(__file__).parents[2] / "mlruns.example" / "mlflow.db"


def is_within(hits: Array, promised: float) -> bool:
    low, high = stats.binom.interval(0.99, len(hits), promised)
    return bool(low <= hits.sum() <= high)


def is_above(hits: Array, promised: float) -> bool:
    return bool(hits.sum() > stats.binom.ppf(0.995, len(hits), promised))


@pytest.mark.parametrize("seeds", SEEDS)
def test_an_arm_differs_from_itself_in_one_study_of_twenty(seeds: int) -> None:
    assert is_within(false_findings.found_of(DRAWS["normal"], seeds, 1000), 0.05)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("name", list(DRAWS))
def test_no_values_make_more_false_findings_than_were_promised(name: str, seeds: int) -> None:
    assert not is_above(false_findings.found_of(DRAWS[name], seeds, 400), 0.05)


def test_sign_flips_keep_their_promise_at_ten_seeds_and_find_nothing_at_five() -> None:
    for name in ("normal", "half collapse"):
        assert is_within(false_findings.flips_of(DRAWS[name], 10, 1000), 0.05)
    assert not false_findings.flips_of(DRAWS["normal"], 5, 1000).any()


def test_holm_keeps_a_study_of_ten_names_for_one_arm_from_any_finding() -> None:
    hits = false_findings.any_after_holm(DRAWS["normal"], 10, 150)
    assert not is_above(hits, 0.05)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_factorials_find_one_in_twenty_of_effects_that_are_not_there(seeds: int) -> None:
    assert not is_above(false_findings.factorial_of(DRAWS["normal"], seeds, 100), 0.05)


def test_real_runs_differ_from_runs_of_their_own_arm_no_more_than_promised() -> None:
    study = load("quickstart", f"sqlite:///{EXAMPLE}")
    for metric in ("final/gold", "final/response_length", "final/kl_to_sft"):
        values = final_values(study, metric).to_numpy(float)
        runs = (values - values.mean(axis=0)).ravel()  # ten runs, as if of one arm
        for seeds in (3, 5):
            assert not is_above(real_runs.found_of(runs, seeds, 1000), 0.05)


def test_runs_are_dealt_without_repeating_one_in_a_study() -> None:
    own, other = real_runs.dealt(np.arange(40.0), 10, 50)
    assert own.shape == other.shape == (10, 50)
    assert all(len(set(column)) == 20 for column in np.vstack([own, other]).T)


@pytest.mark.parametrize("name", ["normal", "exponential", "half collapse", "3 in 10 collapse"])
def test_ten_seeds_hold_the_true_difference_of_an_arm_from_itself(name: str) -> None:
    hits = coverage.difference_covered(coverage.DIFFERENCES[f"{name}, both arms"], 10, 4000)
    assert 0.93 <= hits.mean() <= 0.97


@pytest.mark.parametrize("name", list(DRAWS))
def test_bands_of_ten_seeds_hold_the_true_interquartile_mean(name: str) -> None:
    assert 0.93 <= coverage.iqm_covered(name, 10, 2000).mean() <= 0.98


@pytest.mark.parametrize("seeds", SEEDS)
def test_the_chance_of_improvement_is_covered_even_where_one_arm_nearly_always_wins(seeds: int) -> None:
    assert coverage.improvement_covered(2.0, seeds, 1000).mean() >= 0.95


def test_a_planted_peak_is_covered() -> None:
    assert coverage.fit_covered("peak_kl", 5, 150).mean() >= 0.89  # 95 % less three standard errors


@pytest.mark.parametrize("seeds", SEEDS)
def test_a_detectable_difference_is_found_in_four_studies_of_five(seeds: int) -> None:
    assert is_within(power.detected(DRAWS["normal"], seeds, 1000), 0.8)


def test_the_seeds_that_are_advised_suffice() -> None:
    seeds, hits = power.seeds_suffice(DRAWS["normal"], 1.0, 1000)
    assert seeds == 10 and hits.mean() >= 0.78


@pytest.mark.parametrize("seeds", [3, 5])
def test_a_detectable_main_effect_is_found_in_four_factorials_of_five(seeds: int) -> None:
    assert is_within(power.factorial_detected(seeds, 200), 0.8)


def test_a_share_outside_its_band_is_marked() -> None:
    # 400 at 5 %: the 99 % band is 10 to 32 hits
    assert percent(np.arange(400) < 20, 0.05) == "5.0 %"
    assert percent(np.arange(400) < 33, 0.05) == "8.2 % ↑"
    assert percent(np.arange(400) < 9, 0.05) == "2.2 % ↓"


def test_every_calibration_but_that_of_the_warnings_is_here() -> None:
    there = {path.stem for path in Path(__file__).parent.glob("*.py")}
    assert set(MODULES) - {"warnings"} <= there


def test_the_method_that_was_chosen_is_the_one_that_is_used() -> None:
    values = np.random.default_rng(0).exponential(size=(5, 20))
    found = mean_intervals(values)
    low, high = interval_methods.METHODS["Student's t"](values)
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-12)


def test_students_t_is_kept_by_the_rule_and_the_percentile_interval_is_not() -> None:
    def finds(method: str, seeds: int) -> Array:
        hits, _ = interval_methods.judged(METHODS[method], "normal, both arms", seeds, 1000)
        return 1 - hits

    assert not is_above(finds("Student's t", 3), 0.05)
    assert is_above(finds("expanded percentile", 3), 0.05)
    assert is_above(finds("BCa", 10), 0.05)
