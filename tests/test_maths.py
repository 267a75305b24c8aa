"""Masked statistics and running moments against other people's vectors and against torch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from workbench.maths import (
    DelayedFactor,
    FirstMoments,
    RunningMoments,
    RunningNumber,
    at_every_token,
    at_last_token,
    group_max,
    masked_mean,
    masked_variance,
    move_towards,
    response_mean,
    response_sum,
    td_error,
)

numbers = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30)


def exactly(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_masked_mean_gives_verls_vector() -> None:
    # verl: values 1, 2, 3, 4 under mask 1, 0, 0, 1: (1 + 4)/2
    mask = torch.tensor([True, False, False, True])
    assert float(masked_mean(exactly(1, 2, 3, 4), mask)) == 2.5


def test_masked_mean_ignores_nan_outside_the_mask_and_keeps_it_inside() -> None:
    values, mask = exactly(1, float("nan")), torch.tensor([True, False])
    assert float(masked_mean(values, mask)) == 1.0
    assert masked_mean(values, torch.tensor([True, True])).isnan()


def test_masked_variance_gives_trls_vector() -> None:
    # TRL: 2 and 3 under the mask: mean 2.5, squares ¼ + ¼, over 1 or over 2
    values, mask = exactly(1, 2, 3, 4), torch.tensor([False, True, True, False])
    assert float(masked_variance(values, mask, unbiased=True)) == 0.5
    assert float(masked_variance(values, mask, unbiased=False)) == 0.25


def test_an_empty_mask_gives_zero() -> None:
    values, mask = exactly(1, 2), torch.tensor([False, False])
    assert float(masked_mean(values, mask)) == 0.0
    assert float(masked_variance(values, mask, unbiased=True)) == 0.0


@given(numbers, st.integers(0, 5))
def test_masked_statistics_equal_torch_on_what_is_kept(values: list[float], padding: int) -> None:
    padded = exactly(*values, *[1e6] * padding)
    mask = torch.arange(len(padded)) < len(values)
    assert_close(masked_mean(padded, mask), exactly(*values).mean(), rtol=1e-9, atol=1e-9)
    biased = exactly(*values).var(unbiased=False)
    assert_close(masked_variance(padded, mask, unbiased=False), biased, rtol=1e-9, atol=1e-9)


def test_the_score_stands_on_the_last_response_token() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert at_last_token(torch.tensor([2.0, -1.0]), mask).tolist() == [[0, 0, 2], [-1, 0, 0]]


def test_running_moments_give_trlxs_vector() -> None:
    moments = RunningMoments()
    for part in (
        torch.arange(100),
        torch.ones(100),
        exactly(*range(10)).exp(),
        exactly(-10, -1, 0, 1, 10),
    ):
        moments.update(part)
    # trlX test_running_moments: 215 numbers; e⁰ + … + e⁹ = (e¹⁰ − 1)/(e − 1) = 12818.30805
    # mean (4950 + 100 + 12818.30805 + 0)/215 = 83.1084095; the deviation as numpy has it
    assert float(moments.count) == 215
    assert float(moments.mean) == pytest.approx(83.1084095, rel=1e-8)
    assert float(moments.std) == pytest.approx(591.1360752, rel=1e-8)


@given(st.lists(numbers, min_size=1, max_size=5))
def test_running_moments_equal_those_of_everything_at_once(parts: list[list[float]]) -> None:
    moments = RunningMoments()
    for part in parts:
        moments.update(exactly(*part))
    everything = exactly(*(number for part in parts for number in part))
    assert_close(moments.mean, everything.mean(), rtol=1e-9, atol=1e-9)
    spread = everything.std() if len(everything) > 1 else exactly(0.0)[0]
    expected = torch.where(spread <= 1e-9 * everything.mean().abs(), 1.0, spread)  # equal numbers: 1
    assert_close(moments.std, expected, rtol=1e-9, atol=1e-6)


def test_equal_numbers_deviate_by_one_and_not_by_rounding() -> None:
    moments = RunningMoments()
    moments.update(torch.full((3,), 0.1, dtype=torch.float64))  # 0.1 + 0.1 + 0.1 is not 3 · 0.1
    moments.update(torch.full((7,), 0.1, dtype=torch.float64))
    assert float(moments.std) == 1.0
    moments.update(exactly(0.2))
    assert float(moments.std) == pytest.approx((0.01 * 10 / 11 / 10) ** 0.5)


def test_the_deviation_is_one_until_two_numbers_have_been_seen() -> None:
    moments = RunningMoments()
    assert float(moments.std) == 1.0
    moments.update(exactly(7.0))
    assert float(moments.std) == 1.0
    moments.update(exactly(9.0))  # 7, 9: unbiased variance 2
    assert float(moments.std) == pytest.approx(2**0.5)


def test_running_moments_stay_exact_far_from_zero() -> None:
    moments = RunningMoments()
    for part in (exactly(1e8 + 1, 1e8 + 2), exactly(1e8 + 3)):
        moments.update(part)
    # 1, 2, 3 shifted by 10⁸: variance 1; a sum of squares in float32 would give 0 or worse
    assert float(moments.std) == pytest.approx(1.0, rel=1e-9)


def test_an_update_with_nothing_under_the_mask_changes_nothing() -> None:
    moments = RunningMoments()
    moments.update(exactly(1.0, 3.0))
    before = moments.state_dict()
    moments.update(exactly(5.0), torch.tensor([False]))
    assert moments.state_dict() == before


def test_the_first_moments_stay_those_of_the_first_update() -> None:
    moments = FirstMoments()
    moments.update(exactly(9, 9), torch.tensor([False, False]))  # nothing seen yet
    moments.update(exactly(1, 3, 5, 7), torch.tensor([True, True, True, False]))
    moments.update(exactly(100, -7))
    # 1, 3, 5: mean 3, unbiased variance (4 + 0 + 4)/2 = 4
    assert (float(moments.count), float(moments.mean), float(moments.std)) == (3.0, 3.0, 2.0)


def test_the_first_moments_stay_frozen_through_saving_and_loading() -> None:
    first, resumed = FirstMoments(), FirstMoments()
    first.update(exactly(1, 3))
    resumed.load_state_dict(first.state_dict())
    resumed.update(exactly(100, -7))
    assert torch.equal(resumed.mean, first.mean) and torch.equal(resumed.std, first.std)


def test_a_td_error_sees_the_next_value_and_none_behind_the_last_token() -> None:
    reward, value = exactly(0.0, 1.0, 9.0)[None], exactly(0.2, 0.4, 0.0)[None]
    mask = torch.tensor([[True, True, False]])
    # γ = 0.5: 0 + 0.5·0.4 − 0.2 = 0, 1 + 0.5·0 − 0.4 = 0.6
    assert_close(
        td_error(reward, value, mask, 0.5), exactly(0.0, 0.6, 0.0)[None], rtol=1e-12, atol=1e-12
    )


def test_a_running_number_survives_saving_and_loading() -> None:
    number, other = RunningNumber(), RunningNumber()
    assert number.value.item() == 0 and number.value.dtype == torch.float64
    number.value = number.value + 0.5
    other.load_state_dict(number.state_dict())
    assert other.value.item() == 0.5


def test_a_response_is_summed_and_its_number_put_on_every_token() -> None:
    # rows of two tokens and of one; the 9 is padding: 1 + 2 = 3 and 4
    mask = torch.tensor([[True, True], [True, False]])
    total = response_sum(torch.tensor([[1.0, 2.0], [4.0, 9.0]]), mask)
    assert total.tolist() == [3, 4]
    assert at_every_token(total, mask).tolist() == [[3, 3], [4, 0]]


def test_the_mean_of_a_response_is_over_its_own_tokens_and_0_of_an_empty_one() -> None:
    # (1 + 2)/2 = 1.5, 4/1 = 4, and no token at all; 9 is padding
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    mean = response_mean(torch.tensor([[1.0, 2.0], [4.0, 9.0], [9.0, 9.0]]), mask)
    assert mean.tolist() == [1.5, 4, 0]


def test_the_maximum_of_a_group_is_over_its_own_responses() -> None:
    # group 0 holds −3 and −1, group 5 holds 2
    assert group_max(exactly(-3, 2, -1), torch.tensor([0, 5, 0])).tolist() == [-1, 2, -1]


def test_tensors_move_a_share_of_the_way_and_all_of_it_exactly() -> None:
    # 1 + ¼·(3 − 1) = 1.5, 2 + ¼·(−2 − 2) = 1
    slow, fast = [torch.tensor([1.0, 2.0])], [torch.tensor([3.0, -2.0], requires_grad=True)]
    move_towards(slow, fast, 0.25)
    assert torch.equal(slow[0], torch.tensor([1.5, 1.0]))
    move_towards(slow, fast, 1.0)
    assert torch.equal(slow[0], fast[0].detach()) and not slow[0].requires_grad


def test_tensors_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        move_towards([torch.zeros(1), torch.zeros(1)], [torch.zeros(1)], 0.5)


def test_a_delayed_factor_takes_effect_one_update_later() -> None:
    factor = DelayedFactor()
    seen = []
    for given_factor in (2.0, 3.0, 5.0):
        factor.update(exactly(given_factor)[0])
        seen.append(float(factor.value))
    # 2 counts from the second update on, 3 from the third, 5 from the next
    assert seen == [1.0, 2.0, 6.0]
    resumed = DelayedFactor()
    resumed.load_state_dict(factor.state_dict())
    resumed.update(exactly(7.0)[0])
    assert float(resumed.value) == 30.0
