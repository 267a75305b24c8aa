"""Golden numbers of the slots value, value_target, value_loss and value_weight."""

from dataclasses import replace
from math import inf

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_evaluation, make_rollout, table
from workbench.recipe import Recipe
from workbench.tricks.value.value_norm import ValueNorm
from workbench.tricks.value.value_output_norm import ValueOutputNorm
from workbench.tricks.value_loss.value_clip import ValueClip
from workbench.tricks.value_loss.value_clip_hard import ValueClipHard
from workbench.tricks.value_loss.value_huber import ValueHuber
from workbench.tricks.value_loss.value_mse import ValueMse
from workbench.tricks.value_target.value_after_end import ValueAfterEnd
from workbench.tricks.value_weight.value_coefficient import ValueCoefficient
from workbench.tricks.value_weight.value_mask import ValueMask
from workbench.types import Rollout


def scored(*scores: float) -> Rollout:
    return make_rollout([2] * len(scores), score=torch.tensor(scores, dtype=torch.float64))


# value


def test_value_norm_reads_the_critic_in_deviations_of_the_score() -> None:
    trick = ValueNorm()
    trick.observe(scored(1.0, 3.0, 5.0))
    # scores 1, 3, 5: mean 3, unbiased deviation 2; 3 + 2·(0.5, −1), and 0 in the padding
    mask = torch.tensor([[True, True, False]])
    assert trick(table([0.5, -1.0, 9.0]), mask).tolist() == [[4.0, 1.0, 0.0]]


def test_value_output_norm_normalises_the_critic_as_a_score() -> None:
    trick = ValueOutputNorm(epsilon=0.0)
    trick.observe(scored(1.0, 3.0, 5.0))
    # (7 − 3)/2, (2 − 3)/2
    mask = torch.tensor([[True, True, False]])
    assert trick(table([7.0, 2.0, 9.0]), mask).tolist() == [[2.0, -0.5, 0.0]]


def test_the_epsilon_of_value_output_norm_is_added_to_the_deviation() -> None:
    trick = ValueOutputNorm(epsilon=0.5)
    trick.observe(scored(1.0, 3.0, 5.0))
    # (8 − 3)/(2 + ½)
    assert trick(table([8.0]), torch.tensor([[True]])).tolist() == [[2.0]]


def test_the_two_normalisers_of_values_undo_each_other() -> None:
    rollout = make_rollout()
    norm, output_norm = ValueNorm(), ValueOutputNorm(epsilon=0.0)
    for trick in (norm, output_norm):
        trick.observe(rollout)
    back = norm(output_norm(rollout.value, rollout.mask), rollout.mask)
    assert_close(back, rollout.value, rtol=1e-12, atol=1e-12)


def test_the_normalisers_of_values_are_alternatives() -> None:
    recipe = Recipe("two", (ValueNorm(),)).plus(ValueOutputNorm())
    assert "value_norm" not in [trick.name for trick in recipe.tricks]


def test_values_move_when_the_scores_do_as_nothing_corrects_the_last_layer() -> None:
    # PopArt would keep V = 4 here; μ = 3, σ = 2 become μ = 4, σ = √(20/3)
    trick, mask = ValueNorm(), torch.tensor([[True]])
    trick.observe(scored(1.0, 3.0, 5.0))
    assert float(trick(table([0.5]), mask)) == 4.0
    trick.observe(scored(7.0))
    assert float(trick(table([0.5]), mask)) == pytest.approx(4 + 0.5 * (20 / 3) ** 0.5)


# value_target


def two_responses() -> Rollout:
    """Make a response of one token that ended, and one of two that was cut."""
    return make_rollout(
        [1, 2],
        is_truncated=torch.tensor([False, True]),
        value=table([1.0, 0.0], [2.0, 3.0]),
        returns=table([4.0, 0.0], [5.0, 6.0]),
        end_value=torch.tensor([7.0, 8.0], dtype=torch.float64),
        score=torch.tensor([9.0, 10.0], dtype=torch.float64),
    )


def test_value_after_end_fits_one_more_state_to_the_score_where_there_is_one() -> None:
    rollout = two_responses()
    new = replace(
        make_evaluation(rollout),
        value=table([1.5, 0.0], [2.5, 3.5]),
        end_value=torch.tensor([7.5, 8.5], dtype=torch.float64),
    )
    value, fitted = ValueAfterEnd()(new, rollout)
    # behind the first response's single token; the second was cut and has no state behind
    assert value.tolist() == [[1.5, 7.5, 0.0], [2.5, 3.5, 0.0]]
    assert fitted.mask.tolist() == [[True, True, False], [True, True, False]]
    assert fitted.value.tolist() == [[1.0, 7.0, 0.0], [2.0, 3.0, 0.0]]
    assert fitted.returns.tolist() == [[4.0, 9.0, 0.0], [5.0, 6.0, 0.0]]


def test_the_state_behind_the_end_counts_in_the_critics_loss() -> None:
    rollout = two_responses()
    new = replace(make_evaluation(rollout), value=rollout.value, end_value=rollout.end_value)
    # errors 3, 3, 3 without and 3, 2, 3, 3 with it: ½·9, and ½ (27 + 4)/4
    assert float(Recipe("without").value_loss(new, rollout)) == pytest.approx(4.5)
    assert float(Recipe("with", (ValueAfterEnd(),)).value_loss(new, rollout)) == pytest.approx(3.875)


# value_loss


def minibatch() -> tuple[Tensor, Rollout]:
    """Make four new values and a rollout with V_old = 0 and returns of 1."""
    old = table([0.0, 0.0, 0.0, 0.0])
    return table([0.1, 0.5, 3.0, -2.0]), make_rollout([4], value=old, returns=old + 1)


def test_the_clips_of_values_are_about_the_old_value() -> None:
    # V_old = 2, ε = 0.5: V = 2.25, 4, 1, 1 is clipped to 2.25, 2.5, 1.5, 1.5; R = 3, 3, 3, 1
    old, target = table([2.0, 2.0, 2.0, 2.0]), table([3.0, 3.0, 3.0, 1.0])
    value, rollout = table([2.25, 4.0, 1.0, 1.0]), make_rollout([4], value=old, returns=target)
    # ½·0.75², ½·0.5², ½·1.5², ½·0.5²; the max form keeps ½·1² and ½·2²
    found = ValueClipHard(clip_range=0.5)(value, rollout)
    assert_close(found, table([0.28125, 0.125, 1.125, 0.125]), rtol=1e-12, atol=0)
    found = ValueClip(clip_range=0.5)(value, rollout)
    assert_close(found, table([0.28125, 0.5, 2.0, 0.125]), rtol=1e-12, atol=0)


def test_value_clip_hard_takes_the_clipped_value_even_where_it_is_better() -> None:
    value, rollout = minibatch()
    # clip(V, ±0.2) = 0.1, 0.2, 0.2, −0.2: ½·0.9², ½·0.8², ½·0.8², ½·1.2²
    found = ValueClipHard(clip_range=0.2)(value, rollout)
    assert_close(found, table([0.405, 0.32, 0.32, 0.72]), rtol=1e-12, atol=0)
    # the max form keeps ½·2² and ½·3² where the value overshot or went the wrong way
    found = ValueClip(clip_range=0.2)(value, rollout)
    assert_close(found, table([0.405, 0.32, 2.0, 4.5]), rtol=1e-12, atol=0)


def test_value_clip_hard_has_no_gradient_outside_its_range() -> None:
    value, rollout = minibatch()
    value.requires_grad_()
    ValueClipHard(clip_range=0.2)(value, rollout).sum().backward()
    # V − R = −0.9 inside the range, 0 outside, also for −2, where the max form has −3
    assert value.grad is not None
    assert_close(value.grad, table([-0.9, 0.0, 0.0, 0.0]), rtol=1e-12, atol=0)


def test_value_huber_is_quadratic_up_to_delta_and_linear_from_there() -> None:
    value, rollout = minibatch()
    # e = −0.9, −0.5, 2, −3 with δ = 0.5: 0.5·0.9 − ½·0.25, ½·0.25, 0.5·2 − 0.125, 0.5·3 − 0.125
    found = ValueHuber(delta=0.5)(value, rollout)
    assert_close(found, table([0.325, 0.125, 0.875, 1.375]), rtol=1e-12, atol=0)


def test_value_huber_is_torchs() -> None:
    rollout = make_rollout()
    value = make_evaluation(rollout).value
    expected = torch.nn.functional.huber_loss(value, rollout.returns, reduction="none", delta=0.7)
    assert_close(ValueHuber(delta=0.7)(value, rollout), expected, rtol=1e-12, atol=1e-15)


def test_the_gradient_of_value_huber_is_the_clipped_error() -> None:
    for delta in (0.5, inf):
        value, rollout = minibatch()
        value.requires_grad_()
        ValueHuber(delta=delta)(value, rollout).sum().backward()
        expected = (value.detach() - rollout.returns).clamp(-delta, delta)
        assert value.grad is not None
        assert_close(value.grad, expected, rtol=1e-12, atol=0)


# value_weight


def test_value_coefficient_multiplies_the_critics_loss() -> None:
    rollout = make_rollout()
    new = make_evaluation(rollout)
    plain = Recipe("plain").value_loss(new, rollout)
    weighted = Recipe("weighted", (ValueCoefficient(coefficient=0.1),)).value_loss(new, rollout)
    assert_close(weighted, 0.1 * plain, rtol=1e-12, atol=0)


def test_value_coefficient_is_zero_in_the_padding() -> None:
    found = ValueCoefficient(coefficient=0.1)(make_rollout([2, 1]))
    assert_close(found, table([0.1, 0.1], [0.1, 0.0]), rtol=1e-12, atol=0)


def test_rl4lms_coefficient_without_the_half_is_one_here() -> None:
    value, rollout = minibatch()
    # RL4LMs: 0.5·(V − R)²
    found = ValueCoefficient(coefficient=1.0)(rollout) * ValueMse()(value, rollout)
    assert_close(found, 0.5 * (value - 1) ** 2, rtol=1e-12, atol=0)


def test_value_mask_leaves_out_what_is_behind_the_text() -> None:
    rollout = make_rollout([4, 4, 2], text_length=torch.tensor([4, 1, 2]))
    assert ValueMask(scope="text")(rollout).tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]
    # the state behind the text's end is there only where sampling went on
    assert ValueMask(scope="text_and_end")(rollout).tolist() == [
        [1, 1, 1, 1],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
    ]


def test_value_mask_keeps_the_state_of_value_after_end_if_told_to() -> None:
    rollout = two_responses()
    rollout = replace(rollout, text_length=torch.tensor([1, 2]))
    _, fitted = ValueAfterEnd()(make_evaluation(rollout), rollout)
    assert ValueMask(scope="text_and_end")(fitted).tolist() == [[1, 1, 0], [1, 1, 0]]
    assert ValueMask(scope="text")(fitted).tolist() == [[1, 0, 0], [1, 1, 0]]
