"""Golden numbers of the slot weight_sync."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from tests.builders import as_policy, tiny_gpt2
from workbench.models import Policy
from workbench.recipe import Recipe
from workbench.tricks.logits.nlpo_mask import NlpoMask
from workbench.tricks.weight_sync.nlpo_mask_refresh import NlpoMaskRefresh
from workbench.tricks.weight_sync.policy_ema import PolicyEma
from workbench.tricks.weight_sync.reference_refresh import ReferenceRefresh


def slow_and_fast() -> Any:
    """Return models whose policy is all ones and whose slow copies are all zeros."""
    models = SimpleNamespace(
        policy=filled(1.0), reference=filled(0.0), guide=filled(0.0), average=filled(0.0)
    )
    models.sft = models.reference
    for frozen in (models.reference, models.guide, models.average):
        frozen.requires_grad_(False)
    return models


def filled(value: float) -> Policy:
    policy = as_policy(tiny_gpt2())
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.fill_(value)
    return policy


def weight(policy: Policy) -> float:
    """Return the one number that all weights of a policy are."""
    values = torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])
    assert (values == values[0]).all()
    return float(values[0])


def test_reference_refresh_goes_a_share_of_the_way_every_k_iterations() -> None:
    # α = 0.6, K = 3, π = 1: after the third 0.6, after the sixth 0.6·1 + 0.4·0.6 = 0.84
    models, trick, found = slow_and_fast(), ReferenceRefresh(share=0.6, every=3), []
    for iteration in range(6):
        trick(models, iteration)
        found.append(weight(models.reference))
    assert found == pytest.approx([0.0, 0.0, 0.6, 0.6, 0.6, 0.84], rel=1e-6)
    assert weight(models.policy) == 1.0 and weight(models.guide) == weight(models.average) == 0.0


def test_policy_ema_follows_the_policy_after_every_iteration() -> None:
    # β = 0.9, θ = 1, start 0: 1 − 0.9^k
    models, trick, found = slow_and_fast(), PolicyEma(decay=0.9), []
    for iteration in range(3):
        trick(models, iteration)
        found.append(weight(models.average))
    assert found == pytest.approx([0.1, 0.19, 0.271], rel=1e-5)
    assert weight(models.policy) == 1.0 and weight(models.reference) == weight(models.guide) == 0.0


def test_policy_ema_without_decay_is_the_policy() -> None:
    models = slow_and_fast()
    PolicyEma(decay=0.0)(models, 0)
    assert weight(models.average) == 1.0


def test_nlpo_mask_refresh_copies_the_policy_every_k_iterations() -> None:
    models, trick, found = slow_and_fast(), NlpoMaskRefresh(every=3), []
    for iteration in range(4):
        trick(models, iteration)
        found.append(weight(models.guide))
    assert found == [0.0, 0.0, 1.0, 1.0]
    assert weight(models.reference) == weight(models.average) == 0.0


def test_nlpo_mask_refresh_is_refused_without_the_mask() -> None:
    Recipe("nlpo", (NlpoMask(), NlpoMaskRefresh()))
    with pytest.raises(ValueError, match="nlpo_mask_refresh needs nlpo_mask"):
        Recipe("lost", (NlpoMaskRefresh(),))


def test_slow_copies_stay_frozen_and_copy_no_gradient() -> None:
    models = slow_and_fast()
    for trick in (ReferenceRefresh(every=1), PolicyEma(), NlpoMaskRefresh(every=1)):
        trick(models, 0)
    for slow in (models.reference, models.average, models.guide):
        assert all(p.grad_fn is None and not p.requires_grad for p in slow.parameters())


def test_a_refreshed_guide_says_what_the_policy_says() -> None:
    models = slow_and_fast()
    models.policy = as_policy(tiny_gpt2(5))
    NlpoMaskRefresh(every=1)(models, 0)
    tokens = torch.tensor([[2, 3, 4]])
    policy, guide = (model.model(input_ids=tokens).logits for model in (models.policy, models.guide))
    assert_close(guide, policy, rtol=0, atol=0)
