"""How parts become verdicts: exact tests by hand, all parts needed, one opposite enough, Holm."""

import numpy as np
import pytest

from analysis.verdicts import MIN_SEEDS, Evidence, Part, decide, p_above

ALL_UP = np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.0, 1.05, 0.95, 1.0, 1.0])
"""Ten seeds, all well above 0: of 2¹⁰ flips of signs one is as extreme."""
MIXED = np.array([1.0, -1.1, 0.9, -1.2, 0.8, -1.0, 1.05, -0.95, 1.0, -1.0])


def above(values: np.ndarray, bound: float = 0.0) -> Part:
    return Part("made", "1", values, bound, "above")


def within(values: np.ndarray, bound: float) -> Part:
    return Part("made", "1", values, bound, "within")


def claim(*parts: Part, name: str = "C01") -> Evidence:
    return Evidence(name, "1", "made", parts)


def answer(*parts: Part) -> str:
    return decide([claim(*parts)])[0].answer


def test_p_counts_the_flips_that_are_as_extreme() -> None:
    # 1 + 2 + 3 = 6 is reached by no other choice of signs: 1 of 8
    assert p_above(np.array([1.0, 2.0, 3.0]), 0.0) == pytest.approx(1 / 8)
    # −1 + 2 + 3 = 4: reached by 4 and 6: 2 of 8
    assert p_above(np.array([-1.0, 2.0, 3.0]), 0.0) == pytest.approx(2 / 8)
    # over a bound of 2 the values are −1, 0, 1: no mean above it, and half of the flips as high
    assert p_above(np.array([1.0, 2.0, 3.0]), 2.0) >= 0.5
    assert p_above(ALL_UP, 0.0) == pytest.approx(1 / 1024)


def test_the_smallest_effect_that_counts_has_to_be_exceeded() -> None:
    assert answer(above(ALL_UP, 0.5)) == "reproduced"
    assert answer(above(ALL_UP, 1.0)) == "not reproduced"
    assert answer(above(ALL_UP, 1.5)) == "not reproduced"  # smaller than claimed, but not the opposite


def test_the_opposite_has_to_be_as_large_to_contradict() -> None:
    assert answer(above(-ALL_UP, 0.5)) == "contradicted"
    assert answer(above(-ALL_UP, 1.5)) == "not reproduced"


def test_likeness_is_shown_by_an_interval_and_contradicted_beyond_it() -> None:
    assert answer(within(0.1 * MIXED, 0.5)) == "reproduced"
    assert answer(within(MIXED, 0.5)) == "not reproduced"  # too noisy to say
    assert answer(within(ALL_UP, 0.5)) == answer(within(-ALL_UP, 0.5)) == "contradicted"


def test_every_part_is_needed_and_the_least_shown_decides() -> None:
    weak = above(MIXED)
    [verdict] = decide([claim(above(ALL_UP), weak)])
    assert verdict.answer == "not reproduced"
    assert verdict.deciding is weak
    assert verdict.p == pytest.approx(weak.p_for)


def test_one_opposite_part_contradicts_and_decides() -> None:
    opposite = above(-ALL_UP)
    [verdict] = decide([claim(above(ALL_UP), opposite)])
    assert verdict.answer == "contradicted"
    assert verdict.deciding is opposite
    assert verdict.p == pytest.approx(2 / 1024)  # two parts could have been the one


def test_claims_are_corrected_for_their_number() -> None:
    six = np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.0])  # p = 1/64 = 0.016
    assert answer(above(six)) == "reproduced"
    answers = [verdict.answer for verdict in decide([claim(above(six), name=f"C{i}") for i in range(4)])]
    assert answers == ["not reproduced"] * 4  # 4/64 = 0.063
    mixed = decide([claim(above(six)), claim(above(ALL_UP)), claim(above(MIXED))])
    assert [verdict.answer for verdict in mixed] == ["reproduced", "reproduced", "not reproduced"]
    assert mixed[0].p == pytest.approx(2 / 64)  # the second smallest of three


def test_too_few_seeds_and_missing_runs_are_said_and_do_not_count() -> None:
    few, none, there = decide(
        [
            claim(above(ALL_UP[: MIN_SEEDS - 1])),
            Evidence("C02", "2", "made", (), "there is no study"),
            claim(above(ALL_UP)),
        ]
    )
    assert (few.answer, none.answer, there.answer) == ("not run", "not run", "reproduced")
    assert few.note == "5 seeds are there and 6 are needed"
    assert none.note == "there is no study"
    assert there.p == pytest.approx(1 / 1024)  # the only one in the family
