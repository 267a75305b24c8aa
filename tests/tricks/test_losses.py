"""Golden numbers of the slots policy_loss, value_loss, aggregation and regulariser."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_evaluation, make_rollout, row
from workbench.trick import PolicyLoss
from workbench.tricks.aggregation.constant_length import ConstantLength
from workbench.tricks.aggregation.sequence_mean import SequenceMean
from workbench.tricks.aggregation.sequence_sum import SequenceSum
from workbench.tricks.aggregation.token_mean import TokenMean
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.policy_loss.policy_gradient import PolicyGradient
from workbench.tricks.policy_loss.unclipped_surrogate import UnclippedSurrogate
from workbench.tricks.ratio.reference_ratio import ReferenceRatio
from workbench.tricks.regulariser.entropy_bonus import EntropyBonus
from workbench.tricks.regulariser.entropy_clip import EntropyClip
from workbench.tricks.regulariser.ppo_ptx import PpoPtx
from workbench.tricks.value_loss.value_clip import ValueClip
from workbench.tricks.value_loss.value_mse import ValueMse
from workbench.types import Evaluation, Rollout

# Four tokens: ratio up and down, advantage up and down. log π_old = −1, log π_ref = −2.
RATIO, ADVANTAGE = row(1.5, 1.5, 0.5, 0.5), row(1, -1, 1, -1)


def policy_loss(trick: PolicyLoss) -> tuple[Tensor, Tensor]:
    """Return the loss at RATIO, and its gradient in log π."""
    rollout = make_rollout([4], log_prob=row(-1, -1, -1, -1), ref_log_prob=row(-2, -2, -2, -2))
    log_prob = (rollout.log_prob + RATIO.log()).requires_grad_()
    new = replace(make_evaluation(rollout), log_prob=log_prob)
    loss = trick(log_prob - rollout.log_prob, new, rollout, ADVANTAGE)
    (gradient,) = torch.autograd.grad(loss.sum(), log_prob)
    return loss, gradient


def test_clipped_surrogate_takes_the_worse_of_both_branches() -> None:
    loss, gradient = policy_loss(ClippedSurrogate(clip_range=0.2))
    # −min(1.5, 1.2), −min(−1.5, −1.2), −min(0.5, 0.8), −min(−0.5, −0.8)
    assert_close(loss, row(-1.2, 1.5, -0.5, 0.8), rtol=1e-12, atol=0)
    # d/dlog π is −ρÂ where the ratio is in use, 0 where the clip is
    assert_close(gradient, row(0, 1.5, -0.5, 0), rtol=1e-12, atol=0)


def test_unclipped_surrogate_is_minus_ratio_times_advantage() -> None:
    loss, gradient = policy_loss(UnclippedSurrogate())
    assert_close(loss, row(-1.5, 1.5, -0.5, 0.5), rtol=1e-12, atol=0)
    assert_close(gradient, loss.detach(), rtol=1e-12, atol=0)


def test_reference_ratio_divides_by_the_reference_policy() -> None:
    # log π = −1.5, log π_old = −1, log π_ref = −2:  ℓ = −0.5 becomes 0.5
    rollout = make_rollout([1], log_prob=row(-1), ref_log_prob=row(-2))
    new = replace(make_evaluation(rollout), log_prob=row(-1.5))
    assert_close(ReferenceRatio()(row(-0.5), new, rollout), row(0.5), rtol=1e-12, atol=0)
    outside = replace(rollout, mask=torch.tensor([[False]]))
    assert ReferenceRatio()(row(-0.5), new, outside).tolist() == [[0.0]]


def test_policy_gradient_weighs_log_probabilities_by_advantages() -> None:
    loss, gradient = policy_loss(PolicyGradient())
    assert_close(loss, -ADVANTAGE * (RATIO.log() - 1), rtol=1e-12, atol=0)
    assert_close(gradient, -ADVANTAGE, rtol=1e-12, atol=0)


def test_policy_gradient_equals_the_surrogate_gradient_at_the_first_step() -> None:
    rollout = make_rollout()
    gradients = []
    for trick in (PolicyGradient(), UnclippedSurrogate(), ClippedSurrogate()):
        log_prob = rollout.log_prob.clone().requires_grad_()
        new = replace(make_evaluation(rollout), log_prob=log_prob)
        loss = trick(log_prob - rollout.log_prob, new, rollout, rollout.advantage)
        gradients.append(torch.autograd.grad(loss.sum(), log_prob)[0])
    assert_close(gradients[1], gradients[0], rtol=1e-12, atol=0)
    assert_close(gradients[2], gradients[0], rtol=1e-12, atol=0)


def value_setting(value: Tensor, target: Tensor) -> tuple[Tensor, Rollout]:
    """Return a value with gradient, and a rollout with V_old = 0 and the target."""
    old = torch.zeros_like(value)
    return value.clone().requires_grad_(), make_rollout([value.numel()], value=old, returns=target)


def test_value_mse_is_half_the_squared_error() -> None:
    value, rollout = value_setting(row(1, 2), row(0, 4))
    assert ValueMse()(value, rollout).tolist() == [[0.5, 2.0]]


def test_value_clip_takes_the_worse_of_both_branches() -> None:
    value, rollout = value_setting(row(1, 1, 0.1, -1), row(0, 2, 1, -2))
    loss = ValueClip(clip_range=0.2)(value, rollout)
    # V = 1 → R = 0: ½ max(1², 0.2²) = 0.5        V = 1 → R = 2: ½ max(1², 1.8²) = 1.62, clipped
    # V = 0.1 → R = 1, in range: ½ 0.9² = 0.405   V = −1 → R = −2: ½ max(1², 1.8²) = 1.62, clipped
    assert_close(loss, row(0.5, 1.62, 0.405, 1.62), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(loss.sum(), value)
    assert_close(gradient, row(1, 0, -0.9, 0), rtol=1e-12, atol=0)


LOSS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 99.0, 99.0]], dtype=torch.float64)
MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_token_mean_counts_every_token_the_same() -> None:
    assert float(TokenMean()(LOSS, MASK)) == pytest.approx((1 + 2 + 3 + 4) / 4)


def test_sequence_mean_counts_every_response_the_same() -> None:
    assert float(SequenceMean()(LOSS, MASK)) == pytest.approx(((1 + 2 + 3) / 3 + 4) / 2)


def test_an_empty_response_counts_as_zero() -> None:
    # OpenRLHF's vector is 2.0 where the empty row is left out; here it counts: (2 + 0)/2 = 1
    loss, mask = LOSS[:1].repeat(2, 1), torch.stack([MASK[0], torch.zeros(3, dtype=torch.bool)])
    assert float(SequenceMean()(loss, mask)) == pytest.approx(1.0)
    assert float(TokenMean()(loss, mask)) == pytest.approx(2.0)


def test_sequence_sum_counts_every_response_by_its_length() -> None:
    loss = LOSS.clone().requires_grad_()
    total = SequenceSum()(loss, MASK)
    assert total.item() == pytest.approx(((1 + 2 + 3) + 4) / 2)
    (gradient,) = torch.autograd.grad(total, loss)
    assert gradient.tolist() == [[0.5, 0.5, 0.5], [0.5, 0, 0]]


def test_constant_length_divides_by_a_constant() -> None:
    # (1 + 2 + 3 + 4)/(2·4), 2 responses of up to 4 tokens: 1/8 per token
    loss = LOSS.clone().requires_grad_()
    total = ConstantLength(tokens=4)(loss, MASK)
    assert total.item() == pytest.approx(1.25)
    (gradient,) = torch.autograd.grad(total, loss)
    assert gradient.tolist() == [[0.125, 0.125, 0.125], [0.125, 0, 0]]


def test_all_aggregations_agree_on_responses_of_one_length() -> None:
    loss, mask = LOSS, torch.ones_like(MASK)
    expected = float(loss.mean())
    for trick in (TokenMean(), SequenceMean(), ConstantLength(tokens=3)):
        assert float(trick(loss, mask)) == pytest.approx(expected)
    assert float(SequenceSum()(loss, mask)) == pytest.approx(3 * expected)


def test_aggregations_agree_with_the_vectors_of_openrlhf() -> None:
    # test_loss_aggregation.py: (1 + 2 + 3 + 4 + 5 + 7)/6; ((1 + 3)/2 + (2 + 4)/2 + 8)/3
    loss = torch.tensor([[1.0, 2.0, 0.0], [3.0, 4.0, 5.0], [7.0, 0.0, 0.0]])
    assert float(TokenMean()(loss, loss > 0)) == pytest.approx(22 / 6)
    loss = torch.tensor([[1.0, 3.0, 9.0], [2.0, 4.0, 0.0], [8.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 0, 0]], dtype=torch.bool)
    assert float(SequenceMean()(loss, mask)) == pytest.approx(13 / 3)
    # what is masked may be anything: (1 + 3)/2
    loss = torch.tensor([[1.0, float("nan")], [3.0, float("inf")]])
    mask = torch.tensor([[True, False], [True, False]])
    for trick in (TokenMean(), SequenceMean(), SequenceSum(), ConstantLength(tokens=1)):
        assert float(trick(loss, mask)) == pytest.approx(2.0)


def entropy_setting() -> tuple[Tensor, Evaluation, Rollout]:
    """Entropies 0.5, 1.5 and 1 on three response tokens: mean 1."""
    rollout = make_rollout([2, 1])
    entropy = torch.tensor([[0.5, 1.5], [1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    new = replace(make_evaluation(rollout), entropy=entropy)
    return entropy, new, rollout


def test_entropy_bonus_subtracts_the_mean_entropy() -> None:
    entropy, new, rollout = entropy_setting()
    loss = EntropyBonus(weight=0.3)(new, rollout)
    assert loss.item() == pytest.approx(-0.3)
    # the gradient pushes every response token's entropy up: −0.3/3 each
    (gradient,) = torch.autograd.grad(loss, entropy)
    assert gradient[rollout.mask].tolist() == pytest.approx([-0.1] * 3)


@pytest.mark.parametrize(("target", "loss", "slope"), [(3.0, 0.6, -0.1), (0.4, 0.18, 0.1)])
def test_entropy_clip_pulls_from_both_sides(target: float, loss: float, slope: float) -> None:
    # mean entropy 1: 0.3·|1 − 3| = 0.6, pushed up; 0.3·|1 − 0.4| = 0.18, pushed down
    entropy, new, rollout = entropy_setting()
    found = EntropyClip(weight=0.3, target=target)(new, rollout)
    assert found.item() == pytest.approx(loss)
    (gradient,) = torch.autograd.grad(found, entropy)
    assert gradient[rollout.mask].tolist() == pytest.approx([slope] * 3)


def test_entropy_clip_with_an_unreachable_target_is_the_bonus_up_to_a_constant() -> None:
    # the released code's δ = 30 lies above any entropy: c·(30 − H) = 30 c − c·H
    _, new, rollout = entropy_setting()
    clip, bonus = EntropyClip(weight=0.3, target=30.0), EntropyBonus(weight=0.3)
    assert clip(new, rollout).item() == pytest.approx(9 + bonus(new, rollout).item())


def test_ppo_ptx_adds_the_weighted_language_loss() -> None:
    rollout = make_rollout()
    # the builder's pre-training loss is 2.5: 0.1·2.5
    assert float(PpoPtx(weight=0.1)(make_evaluation(rollout), rollout)) == pytest.approx(0.25)
