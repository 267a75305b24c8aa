"""Golden numbers of the slot ratio."""

from dataclasses import replace
from math import exp

import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_evaluation, make_rollout, table
from workbench.trick import RatioTransform
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.ratio.behaviour_ratio import BehaviourRatio
from workbench.tricks.ratio.log_ratio_clamp import LogRatioClamp
from workbench.tricks.ratio.reference_ratio import ReferenceRatio
from workbench.tricks.ratio.sequence_ratio import SequenceRatio
from workbench.tricks.ratio.summed_ratio import SummedRatio

# Two responses, of three tokens and of one; 9 in the padding.
ROLLOUT = make_rollout([3, 1])
LOG_RATIO = torch.tensor([[0.6, -0.2, 0.5], [0.1, 9.0, 9.0]], dtype=torch.float64)


def apply(trick: RatioTransform, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the changed log-ratio, and the gradient of its weighted sum in the given one."""
    log_ratio = LOG_RATIO.clone().requires_grad_()
    changed = trick(log_ratio, make_evaluation(ROLLOUT), ROLLOUT)
    total = (changed if weight is None else weight * changed).sum()
    return changed.detach(), torch.autograd.grad(total, log_ratio)[0]


def test_log_ratio_clamp_cuts_value_and_gradient_outside_its_bounds() -> None:
    given = table((25, -30, 0.5)).requires_grad_()
    found = LogRatioClamp(max_abs=20.0)(given, make_evaluation(ROLLOUT), ROLLOUT)
    assert found.tolist() == [[20, -20, 0.5]]
    (gradient,) = torch.autograd.grad(found.sum(), given)
    assert gradient.tolist() == [[0, 0, 1]]


def test_the_clamp_keeps_a_loss_finite_where_the_ratio_overflows() -> None:
    rollout = make_rollout([1], dtype=torch.float32, advantage=torch.tensor([[-1.0]]))
    new = make_evaluation(rollout)
    far = torch.tensor([[100.0]])
    arguments = (new, rollout, rollout.advantage)
    assert not ClippedSurrogate()(far, *arguments).isfinite().all()
    clamped = LogRatioClamp()(far, new, rollout)
    assert_close(ClippedSurrogate()(clamped, *arguments), torch.tensor([[exp(20.0)]]), rtol=1e-5, atol=0)


def test_sequence_ratio_puts_the_mean_on_every_token() -> None:
    found, gradient = apply(SequenceRatio())
    # (0.6 − 0.2 + 0.5)/3 = 0.3; one token keeps its own
    assert_close(found, table((0.3, 0.3, 0.3), (0.1, 0, 0)), rtol=1e-12, atol=0)
    assert_close(gradient, table((1, 1, 1), (1, 0, 0)), rtol=1e-12, atol=0)


def test_summed_ratio_puts_the_sum_on_every_token() -> None:
    found, gradient = apply(SummedRatio())
    # 0.6 − 0.2 + 0.5 = 0.9; each token is in the sum of all three
    assert_close(found, table((0.9, 0.9, 0.9), (0.1, 0, 0)), rtol=1e-12, atol=0)
    assert_close(gradient, table((3, 3, 3), (1, 0, 0)), rtol=1e-12, atol=0)


def surrogate_gradients(advantage: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient in ℓ of −ρ̃Â, summed: through the mean, and in verl's form at each token."""
    ours = LOG_RATIO.clone().requires_grad_()
    ratio = SequenceRatio()(ours, make_evaluation(ROLLOUT), ROLLOUT).exp()
    theirs = LOG_RATIO.clone().requires_grad_()
    straight = ratio.detach() * (theirs - theirs.detach()).exp()
    assert_close(straight[ROLLOUT.mask], ratio[ROLLOUT.mask], rtol=1e-12, atol=0)
    return (
        torch.autograd.grad(-(ratio * advantage).sum(), ours)[0],
        torch.autograd.grad(-(straight * advantage).sum(), theirs)[0],
    )


def test_sequence_ratio_has_the_gradient_of_verl_with_one_advantage_per_response() -> None:
    ours, theirs = surrogate_gradients(table((2, 2, 2), (-1, 0, 0)))
    # −2 e^0.3 on each token of the first response, e^0.1 on the second's
    assert_close(ours, table((-2 * exp(0.3),) * 3, (exp(0.1), 0, 0)), rtol=1e-12, atol=0)
    assert_close(theirs, ours, rtol=1e-12, atol=0)


def test_sequence_ratio_spreads_token_advantages_where_verl_does_not() -> None:
    ours, theirs = surrogate_gradients(table((3, 0, 0), (-1, 0, 0)))
    # Â = (3, 0, 0): −e^0.3 on each of the three tokens here, −3 e^0.3 on the first one there
    assert_close(ours[0], -exp(0.3) * table((1, 1, 1))[0], rtol=1e-12, atol=0)
    assert_close(theirs[0], -exp(0.3) * table((3, 0, 0))[0], rtol=1e-12, atol=0)
    assert_close(ours.sum(1), theirs.sum(1), rtol=1e-12, atol=0)


def test_behaviour_ratio_compares_what_is_sampled_from() -> None:
    # log μ = −0.4, log μ_old = −0.7: ℓ = 0.3, whatever π and π_old say
    rollout = make_rollout([1], behaviour_log_prob=table((-0.7,)))
    sampled = table((-0.4,)).requires_grad_()
    new = replace(make_evaluation(rollout), behaviour_log_prob=sampled)
    found = BehaviourRatio()(table((5.0,)), new, rollout)
    assert_close(found, table((0.3,)), rtol=1e-12, atol=0)
    assert torch.autograd.grad(found.sum(), sampled)[0].tolist() == [[1.0]]


def test_behaviour_ratio_without_logits_tricks_changes_nothing() -> None:
    rollout = make_rollout()
    rollout = replace(rollout, behaviour_log_prob=rollout.log_prob)
    new = make_evaluation(rollout)
    new = replace(new, behaviour_log_prob=new.log_prob)
    log_ratio = new.log_prob - rollout.log_prob
    assert torch.equal(BehaviourRatio()(log_ratio, new, rollout), log_ratio)


def test_what_the_ratio_is_of_is_settled_before_it_is_averaged_and_clamped() -> None:
    for kind in (SequenceRatio, SummedRatio, LogRatioClamp):
        assert kind.follows(ReferenceRatio) and kind.follows(BehaviourRatio)
    assert LogRatioClamp.follows(SequenceRatio) and LogRatioClamp.follows(SummedRatio)
