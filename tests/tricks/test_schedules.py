"""Golden numbers of the slot schedule."""

from itertools import pairwise
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.recipe import Recipe
from workbench.trick import Schedule
from workbench.tricks.schedule.cosine_decay import CosineDecay
from workbench.tricks.schedule.inverse_square_root_decay import InverseSquareRootDecay
from workbench.tricks.schedule.learning_rate_warmup import LearningRateWarmup
from workbench.tricks.schedule.linear_decay import LinearDecay
from workbench.types import Rates

DECAYS = (LinearDecay, CosineDecay, InverseSquareRootDecay)


def factors(trick: Schedule, iterations: int) -> list[float]:
    found = [trick(k, iterations) for k in range(iterations)]
    assert all(rates.policy == rates.critic for rates in found)
    return [rates.policy for rates in found]


def test_linear_decay_falls_by_one_step_per_iteration() -> None:
    # K = 4: 1 − k/4; to f = 0.2: 1 − 0.8·k/4
    assert factors(LinearDecay(final=0.0), 4) == [1.0, 0.75, 0.5, 0.25]
    assert factors(LinearDecay(final=0.2), 4) == pytest.approx([1.0, 0.8, 0.6, 0.4], rel=1e-12)


def test_cosine_decay_is_half_way_down_at_half_the_run() -> None:
    # cos(π k/4) = 1, √½, 0, −√½; f = 0.1: 0.1 + 0.45·(1 + cos)
    expected = [1.0, 0.1 + 0.45 * (1 + sqrt(0.5)), 0.55, 0.1 + 0.45 * (1 - sqrt(0.5))]
    assert factors(CosineDecay(final=0.1), 4) == pytest.approx(expected, rel=1e-12)


def test_inverse_square_root_decay_starts_after_its_share() -> None:
    # W = 0.25·16 = 4: 1 up to the 4th, then √(4/5), √(4/6), … √(4/16) = 1/2
    found = factors(InverseSquareRootDecay(share=0.25), 16)
    assert found[:4] == [1.0] * 4
    assert found[4:] == pytest.approx([sqrt(4 / step) for step in range(5, 17)], rel=1e-12)
    assert found[-1] == 0.5


def test_inverse_square_root_decay_stops_at_its_floor() -> None:
    # √(1/9) = 1/3 < 0.4 < √(1/4) = 1/2
    found = factors(InverseSquareRootDecay(share=0.0, final=0.4), 9)
    assert (found[3], found[8]) == (0.5, 0.4)


def test_with_a_warm_up_it_is_the_schedule_of_moss_rlhf() -> None:
    # their invsqrt_scheduler at step t, W = 10: max(t/W, 0.1) below W, √W/√t from there on. Steps count
    # from 1 here, so the first is not cut short; they count from 0, where the floor of 0.1 holds.
    pair = LearningRateWarmup(share=0.1), InverseSquareRootDecay(share=0.1)
    recipe = Recipe("moss", pair)
    for k in range(100):
        t = k + 1
        theirs = max(t / 10, 0.1) if t < 10 else sqrt(10) / sqrt(t)
        assert recipe.rates(k, 100).critic == pytest.approx(theirs, rel=1e-12)


def test_decays_are_alternatives_and_multiply_a_warm_up() -> None:
    # K = 4, warm-up over half: 1/2, 1, 1, 1; linear: 1, 3/4, 1/2, 1/4
    recipe = Recipe("both", (CosineDecay(), LearningRateWarmup(share=0.5))).plus(LinearDecay())
    found = [recipe.rates(k, 4) for k in range(4)]
    assert found == [Rates(x, x) for x in (0.5, 0.75, 0.5, 0.25)]


@pytest.mark.parametrize("kind", DECAYS)
@given(final=st.floats(0, 1), iterations=st.integers(1, 300))
def test_a_decay_starts_at_one_never_rises_and_stays_above_its_end(
    kind: type[Schedule], final: float, iterations: int
) -> None:
    found = factors(kind(final=final), iterations)  # type: ignore[call-arg]
    assert found[0] == 1.0 and min(found) >= final - 1e-12
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(found))
