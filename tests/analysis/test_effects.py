from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import effects
from analysis.comparison import FOUND, NONE, TOO_FEW
from analysis.effects import START
from analysis.runs import Study
from analysis.wording import number, p_note, seeds_sentence
from tests.analysis.made_study import made_study
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
        **{"detectable": 0.9, "sd": 1.0, "verdict": FOUND},
    }
    return effects.effect_sentence(pd.Series(row | changes))


def test_a_difference_is_said_with_unit_interval_n_and_p() -> None:
    assert sentence() == (
        "Final KL to the SFT policy: b is 1.23 nats/response below a "
        "(95 % interval −2.00 to −0.500, n = 10, p = 0.002, after Holm 0.016)."
    )


def test_an_arm_that_never_had_sft_is_not_said_to_have_started_there() -> None:
    said = sentence(arm="without_sft", against=START)
    assert "without_sft is 1.23 nats/response below the SFT policy (" in said


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


@pytest.mark.parametrize(("n", "verdict"), [(10, NONE), (2, TOO_FEW)])
def test_arms_that_are_the_same_at_every_seed_are_called_so(n: int, verdict: str) -> None:
    said = sentence(difference=0.0, sd=0.0, n=n, low=0.0, high=0.0, verdict=verdict)
    assert said.endswith(f": no difference found between b and a: the same at each of {n} seeds.")


def test_the_seeds_that_are_needed_are_said_with_how_sure_that_is() -> None:
    # sd 1 from 5 seeds: χ²₀.₉₇₅,₄ = 11.143 and χ²₀.₀₂₅,₄ = 0.4844 give sd 0.599 to 2.874
    said = seeds_sentence(pd.Series({"n": 5, "sd": 1.0}), "final/gold", -1.0)
    assert said == (
        "Final gold score: to find a difference of 1.00 in four studies out of five takes 10 paired "
        "seeds; 6 to 67, as the spread is known from 5 seeds only."
    )
    assert seeds_sentence(pd.Series({"n": 1, "sd": np.nan}), "final/gold", 1.0).startswith(
        "The spread over 1 seed does not say"
    )


def test_the_note_on_p_says_that_five_seeds_cannot_be_below_one_sixteenth() -> None:
    table = pd.DataFrame({"n": [5, 5], "smallest_p": [0.0625, 0.0625]})
    assert p_note(table).startswith(
        "5 paired seeds cannot give a p (two-sided, by sign flips) below 0.0625"
    )
    two = pd.DataFrame({"n": [2], "smallest_p": [0.5]})
    assert p_note(two) == ""


def test_the_note_on_p_says_when_there_are_too_many_comparisons_for_the_seeds() -> None:
    six = pd.DataFrame({"n": [6, 6, 2], "smallest_p": [0.03125, 0.03125, 0.5]})
    # The two that have an interval: 2 · 0.03125.
    assert "too few seeds" not in p_note(six)
    assert "is over the 2 comparisons of this kind, of which 6 seeds cannot" in p_note(six)
    assert "a p below 0.0625: go by the intervals" in p_note(six)
    assert p_note(six.head(1)).endswith("is over the 1 comparison of this kind.")


def test_the_note_on_p_speaks_of_the_comparisons_that_have_fewer_seeds() -> None:
    table = pd.DataFrame({"n": [10, 4], "smallest_p": [2 / 1024, 0.125]})
    assert p_note(table) == (
        "p is two-sided, by sign flips over paired seeds; Holm's correction is over the 2 comparisons of"
        " this kind. 1 of them has too few seeds for a p below 0.05."
    )


LEFT_OUT = {
    "kind": "leave_one_out",
    "recipe": "full",
    "factors": ["clip", "norm"],
    "levels": {"full": [True, True], "no_clip": [False, True], "no_norm": [True, False]},
}
ADDED = {
    "kind": "add_one_in",
    "recipe": "bare",
    "factors": ["clip", "norm"],
    "levels": {"bare": [False, False], "clip": [True, False], "norm": [False, True]},
}
SEEDS = np.arange(5.0)[:, None]  # what seeds share cancels in every difference


def test_a_trick_that_helps_has_the_same_sign_left_out_or_added() -> None:
    left = made_study(
        {"final/gold": SEEDS + np.array([3.0, 1.0, 3.5])},
        ["full", "no_clip", "no_norm"],
        design=LEFT_OUT,
    )
    added = made_study(
        {"final/gold": SEEDS + np.array([1.0, 3.0, 0.5])}, ["bare", "clip", "norm"], design=ADDED
    )
    for study in (left, added):
        table = effects.forest(study, "final/gold").set_index("trick")
        assert table["effect"].tolist() == [2.0, -0.5]
        assert list(table.index) == ["clip", "norm"]
    assert effects.forest(left, "final/gold")["arm"].tolist() == ["no_clip", "no_norm"]


def test_a_forest_is_corrected_over_its_own_rows() -> None:
    values = SEEDS + np.array([3.0, 1.0, 2.0]) + 0.01 * np.random.default_rng(0).normal(size=(5, 3))
    study = made_study({"final/gold": values}, ["full", "no_clip", "no_norm"], design=LEFT_OUT)
    table = effects.forest(study, "final/gold")
    assert table["p"].tolist() == [0.0625, 0.0625]
    assert table["p_holm"].tolist() == [0.125, 0.125]


def test_a_factor_with_other_levels_is_compared_with_the_recipes() -> None:
    design = {
        "kind": "add_one_in",
        "recipe": "base",
        "factors": ["gae.lambda"],
        "levels": {"base": [0.95], "high": [1.0]},
    }
    study = made_study({"final/gold": SEEDS + np.array([0.0, 2.0])}, ["base", "high"], design=design)
    row = effects.forest(study, "final/gold").iloc[0]
    assert row["trick"] == "gae.lambda = 1.0" and row["effect"] == 2.0


def test_a_forest_is_empty_without_single_changes(study: Study) -> None:
    assert len(effects.forest(study, "final/gold")) == 0
    assert list(effects.forest(study, "final/gold").columns) == effects.FOREST_COLUMNS


def test_a_row_of_a_forest_is_said_as_what_the_trick_does() -> None:
    values = (
        SEEDS + np.array([3.0, 1.0, 3.0]) + [[0.0, 0.1 * s, 0.5 * (s - 2) ** 2 - 1] for s in range(5)]
    )
    study = made_study({"final/gold": values}, ["full", "no_clip", "no_norm"], design=LEFT_OUT)
    said = [
        effects.forest_sentence(r, "final/gold")
        for _, r in effects.forest(study, "final/gold").iterrows()
    ]
    # clip: 2 − (0, …, 0.4), mean 1.8, sd 0.158114: ± 2.776445·0.158114/√5 = 0.196324
    assert said[0] == (
        "Final gold score: clip, in the recipe, adds 1.80 "
        "(95 % interval 1.60 to 2.00, n = 5, p = 0.0625)."
    )
    assert said[1].startswith("Final gold score: no effect of norm, in the recipe, was found (0, 95 %")


def test_a_design_that_does_not_fit_its_factors_is_refused() -> None:
    wrong = {**LEFT_OUT, "levels": {"full": [True]}}
    study = made_study({"final/gold": SEEDS}, ["full"], design=wrong)
    with pytest.raises(ValueError, match="gives arm 'full' 1 levels for 2 factors"):
        effects.forest(study, "final/gold")
    study = made_study({"final/gold": SEEDS}, ["full"], design={"kind": "guess"})
    with pytest.raises(ValueError, match="unknown design 'guess'"):
        effects.forest(study, "final/gold")


def test_a_thousand_runs_are_compared_in_one_pass() -> None:
    rng = np.random.default_rng(0)
    finals = {name: rng.normal(size=(10, 100)) for name in effects.FINAL}
    study = made_study(finals, [f"arm{i}" for i in range(100)])
    table = effects.effects(study)
    assert len(table) == 99 * len(effects.FINAL)
    row = table.set_index(["arm", "metric"]).loc[("arm7", "final/gold")]
    expected = finals["final/gold"][:, 7] - finals["final/gold"][:, 0]
    np.testing.assert_allclose(row["difference"], expected.mean(), rtol=1e-12)
