"""Golden numbers of the KL terms, the adaptive entropy bonus and the stopping rule."""

from dataclasses import replace
from math import log

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_evaluation, make_rollout, row
from workbench.trick import Regulariser
from workbench.tricks.regulariser.adaptive_entropy import AdaptiveEntropy
from workbench.tricks.regulariser.entropy_bonus import EntropyBonus
from workbench.tricks.regulariser.full_kl_loss import FullKlLoss
from workbench.tricks.regulariser.kl_loss import KlLoss
from workbench.tricks.stopping.target_kl_stop import TargetKlStop


def kl_term(trick: Regulariser, log_prob: Tensor, reference: Tensor) -> Tensor:
    """Return the term for one response of the given log-probabilities."""
    rollout = make_rollout([log_prob.shape[1]], ref_log_prob=reference)
    return trick(replace(make_evaluation(rollout), log_prob=log_prob), rollout)


@pytest.mark.parametrize(
    ("estimator", "value", "slopes"),
    [
        # d = (ln 2, −ln 2), mean of two tokens; slopes are dk̂/dd / 2
        ("k1", 0.0, (0.5, 0.5)),
        ("k2", 0.5 * log(2) ** 2, (0.5 * log(2), -0.5 * log(2))),
        # (½ − 1 + ln 2 + 2 − 1 − ln 2)/2 = ¼; (1 − e^−d)/2 = (1 − ½)/2, (1 − 2)/2
        ("k3", 0.25, (0.25, -0.5)),
        ("abs", log(2), (0.5, -0.5)),
    ],
)
def test_kl_loss_is_the_mean_estimate_with_its_gradient(
    estimator: str, value: float, slopes: tuple[float, float]
) -> None:
    log_prob = row(-1, -2).requires_grad_()
    reference = row(-1 - log(2), -2 + log(2))
    loss = kl_term(KlLoss(weight=0.1, estimator=estimator), log_prob, reference)
    assert loss.item() == pytest.approx(0.1 * value, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, log_prob)
    assert_close(gradient, 0.1 * row(*slopes), rtol=1e-12, atol=0)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_gradient_of_kl_loss_is_that_of_a_different_kl_for_each_estimator(estimator: str) -> None:
    # three words of which π makes each as likely: the mean over three tokens is the expectation
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
    log_prob = logits.log_softmax(0)
    kl = {
        "k1": 0 * log_prob.sum(),
        "k2": (log_prob.exp() * (log_prob - reference)).sum(),  # KL(π ‖ π_ref)
        "k3": (reference.exp() * (reference - log_prob)).sum(),  # KL(π_ref ‖ π)
    }
    (expected,) = torch.autograd.grad(kl[estimator], logits, retain_graph=True)
    loss = kl_term(KlLoss(weight=1.0, estimator=estimator), log_prob[None], reference[None])
    assert_close(torch.autograd.grad(loss, logits)[0], expected, rtol=1e-12, atol=1e-12)


def test_the_straight_through_estimators_of_verl_have_the_gradient_of_k2() -> None:
    # k3+ = k2 − sg[k2] + sg[k3]: the value of k3 = ¼, slopes ±½ ln 2
    log_prob = row(-1, -2).requires_grad_()
    reference = row(-1 - log(2), -2 + log(2))
    ours = kl_term(KlLoss(weight=1.0, estimator="k2"), log_prob, reference)
    value = kl_term(KlLoss(weight=1.0, estimator="k3"), log_prob, reference)
    theirs = ours - ours.detach() + value.detach()
    assert theirs.item() == pytest.approx(0.25) and ours.item() != pytest.approx(0.25)
    (gradient,) = torch.autograd.grad(ours, log_prob, retain_graph=True)
    assert_close(gradient, torch.autograd.grad(theirs, log_prob)[0], rtol=0, atol=0)
    assert_close(gradient, row(0.5 * log(2), -0.5 * log(2)), rtol=1e-12, atol=0)


def test_full_kl_loss_is_the_mean_over_response_tokens() -> None:
    rollout = make_rollout([2, 1])
    divergence = torch.tensor([[0.2, 0.4], [0.6, 9.0]], dtype=torch.float64, requires_grad=True)
    loss = FullKlLoss(weight=0.5)(replace(make_evaluation(rollout), ref_kl=divergence), rollout)
    # 0.5·(0.2 + 0.4 + 0.6)/3 = 0.2, slope 0.5/3
    assert loss.item() == pytest.approx(0.2)
    (gradient,) = torch.autograd.grad(loss, divergence)
    assert gradient.flatten().tolist() == pytest.approx([0.5 / 3, 0.5 / 3, 0.5 / 3, 0])


def test_adaptive_entropy_raises_its_weight_below_the_target_and_lowers_it_above() -> None:
    trick = AdaptiveEntropy(step=0.1, target=1.0, low=0.0, high=0.25)
    rollout = make_rollout([2])
    new = replace(make_evaluation(rollout), entropy=row(0.4, 0.6))
    found = []
    for entropy in (0.5, 1.0, 0.5, 2.0, 0.5, 2.0, 2.0, 2.0, 2.0, 0.5):
        trick.observe(replace(rollout, entropy=row(entropy, entropy)))
        found.append(float(trick(new, rollout)))
    # weight 0.1 0.2 0.25 (cap) 0.15 0.25 0.15 0.05 0 (floor) 0 0.1; not used above the target; H = 0.5
    expected = [-0.05, -0.1, -0.125, 0, -0.125, 0, 0, 0, 0, -0.05]
    assert found == pytest.approx(expected, abs=1e-12)


def test_adaptive_entropy_pulls_as_the_bonus_of_its_weight() -> None:
    trick = AdaptiveEntropy(step=0.02, target=5.0)
    rollout = make_rollout()
    trick.observe(rollout)
    new = make_evaluation(rollout)
    assert_close(trick(new, rollout), EntropyBonus(weight=0.02)(new, rollout), rtol=1e-12, atol=0)


def test_adaptive_entropy_measures_response_tokens_only() -> None:
    # (0.5 + 0.5 + 0.5)/3 = 0.5 ≤ 1, with 99 in the padding
    trick = AdaptiveEntropy(step=0.1, target=1.0)
    rollout = make_rollout([2, 1])
    entropy = torch.tensor([[0.5, 0.5], [0.5, 99.0]], dtype=torch.float64)
    trick.observe(replace(rollout, entropy=entropy))
    assert trick.entropy.value.item() == pytest.approx(0.5)
    assert trick.weight.value.item() == pytest.approx(0.1)


@pytest.mark.parametrize(("target", "stops"), [(0.1, False), (0.09, True)])
def test_target_kl_stop_compares_k3_with_one_and_a_half_targets(target: float, stops: bool) -> None:
    # ρ = (1.5, 0.5): ((0.5 − ln 1.5) + (ln 2 − 0.5))/2 = ½ ln(4/3) = 0.1438;   1.5·0.1, 1.5·0.09 = 0.135
    rollout = make_rollout([2, 1], log_prob=torch.full((2, 2), -1.0, dtype=torch.float64))
    mask = torch.tensor([[True, True], [False, False]])
    moved = torch.tensor([[log(1.5), log(0.5)], [50.0, -50.0]], dtype=torch.float64)
    new = replace(make_evaluation(rollout), log_prob=rollout.log_prob + moved)
    found = TargetKlStop(target=target)(new, replace(rollout, mask=mask))
    assert found.dtype == torch.bool and found.shape == () and bool(found) is stops


def test_target_kl_stop_never_stops_at_the_policy_that_sampled() -> None:
    rollout = make_rollout()
    new = replace(make_evaluation(rollout), log_prob=rollout.log_prob)
    assert not TargetKlStop(target=1e-12)(new, rollout)
