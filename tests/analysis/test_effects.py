from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import effects
from analysis.effects import FOUND, NONE, START, TOO_FEW, number
from analysis.runs import Study
from tests.analysis.synthetic_store import QUICKSTART, Arm, Plan


def test_a_planted_effect_is_measured_exactly(make_study: Callable[[Plan], Study]) -> None:
    # Gold ends at 0.7 + gain·(1 − e^{−60/8}), the noise of a seed being the same in both arms.
    plan = Plan({"base": Arm(0.8), "better": Arm(1.0)})
    table = effects.effects(make_study(plan)).set_index(["arm", "against", "metric"])
    row = table.loc[("better", "base", "final/gold")]
    assert row["difference"] == pytest.approx(0.2 * (1 - np.exp(-7.5)), rel=1e-9)
    assert row["n"] == 5 and row["p"] == 0.0625 and row["verdict"] == FOUND
    start = table.loc[("better", START, "final/gold")]
    assert start["mean_against"] == pytest.approx(0.7, abs=0.05)
    assert start["difference"] == pytest.approx(1.0, abs=0.05)


def test_the_same_arm_under_two_names_shows_no_difference(
    make_study: Callable[[Plan], Study],
) -> None:
    table = effects.effects(make_study(Plan({"a": Arm(), "b": Arm()})))
    same = table[table["against"] == "a"]
    assert len(same) == len(effects.FINAL)
    assert (same["difference"] == 0).all() and (same["p"] == 1).all()
    assert (same["verdict"] == NONE).all() and (same["improvement"].dropna() == 0.5).all()


def test_chance_of_improvement_follows_the_direction_that_is_better(study: Study) -> None:
    table = effects.effects(study)
    own = table[table["against"] == "vanilla"].set_index("metric")
    # ppo_max ends with more gold and with less KL in every pair of runs; length has no direction.
    assert own.loc["final/gold", "improvement"] == 1.0
    assert own.loc["final/kl_to_sft", "improvement"] == 1.0
    assert np.isnan(own.loc["final/response_length", "improvement"])


def test_holm_counts_every_comparison_of_a_family(study: Study) -> None:
    table = effects.effects(study)
    own = table[table["against"] == "vanilla"]
    np.testing.assert_allclose(own["p_holm"], 0.0625 * len(own), rtol=1e-12)
    start = table[table["against"] == START]
    np.testing.assert_allclose(start["p_holm"], 0.0625 * 6, rtol=1e-12)


def test_only_seeds_that_both_arms_finished_are_compared(
    make_study: Callable[[Plan], Study],
) -> None:
    plan = replace(QUICKSTART, stop={"vanilla/s0": 20}, failed={"ppo_max/s4": "out of memory"})
    table = effects.effects(make_study(plan))
    assert set(table.loc[table["against"] == "vanilla", "n"]) == {3}


def test_a_baseline_that_is_no_arm_is_refused(study: Study) -> None:
    with pytest.raises(ValueError, match="baseline 'best' is not an arm; arms: vanilla, ppo_max"):
        effects.effects(study, "best")


def sentence(**changes: object) -> str:
    row = {
        **{"arm": "b", "against": "a", "metric": "final/kl_to_sft", "n": 10, "difference": -1.234},
        **{"low": -2.0, "high": -0.5, "p": 0.002, "p_holm": 0.016, "smallest_p": 2 / 1024},
        **{"detectable": 0.9, "verdict": FOUND},
    }
    return effects.effect_sentence(pd.Series(row | changes))


def test_a_difference_is_said_with_unit_interval_n_and_p() -> None:
    assert sentence() == (
        "Final KL to the SFT policy: b is 1.23 nats/response below a "
        "(95 % interval −2.00 to −0.500, n = 10, p = 0.002, after Holm 0.016)."
    )


def test_a_difference_that_holm_takes_back_is_called_weak() -> None:
    assert "p = 0.03, after Holm 0.24: weak" in sentence(p=0.03, p_holm=0.24)


def test_no_difference_is_said_plainly_with_what_would_have_been_found() -> None:
    said = sentence(difference=0.1, low=-0.2, high=0.4, p=0.5, p_holm=1.0, verdict=NONE)
    assert "no difference found between b and a (0.100 nats/response" in said
    assert said.endswith("one of 0.900 nats/response would be found in four such studies out of five.")


def test_too_few_seeds_are_said_plainly() -> None:
    said = sentence(n=2, low=np.nan, high=np.nan, smallest_p=0.5, verdict=TOO_FEW)
    assert said.endswith("below a (n = 2: too few seeds for an interval; this may be chance).")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0"), (-1.0784, "−1.08"), (112.5, "112"), (0.01234, "0.0123"), (9.999, "10.0")),
        *((1e9, "1.00e+09"), (1e-9, "1.00e−09"), (123456.0, "123456")),
        *((float("nan"), "–"), (float("-inf"), "−∞")),
    ],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text
