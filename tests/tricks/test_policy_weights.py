"""Golden numbers of the slot policy_weight."""

from dataclasses import replace
from math import exp

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.builders import make_evaluation, make_rollout, table
from workbench.trick import PolicyWeight
from workbench.tricks.policy_weight.high_entropy_tokens import HighEntropyTokens
from workbench.tricks.policy_weight.icepop import Icepop
from workbench.tricks.policy_weight.off_policy_mask import OffPolicyMask
from workbench.tricks.policy_weight.sequence_mask_tis import SequenceMaskTis
from workbench.tricks.policy_weight.truncated_importance_sampling import TruncatedImportanceSampling
from workbench.types import Evaluation, Rollout


def weights(trick: PolicyWeight, log_ratio: Tensor, lengths: list[int]) -> Tensor:
    """Return the weights where log π_old − log μ_old is the given one."""
    rollout = make_rollout(lengths)
    rollout = replace(rollout, behaviour_log_prob=rollout.log_prob - log_ratio)
    return trick(make_evaluation(rollout), rollout, rollout.advantage)


# ρ = e^−1 = 0.3679 and e^0.5 = 1.6487 are the ratios of verl's test_rollout_corr.py, bounds 0.5 and 2.
TOKENS = table((-1.0, 0.5, 1.0), (0.0, 9.0, 9.0))


def test_truncated_importance_sampling_clips_the_ratio() -> None:
    # 0.3679 → 0.5, 1.6487, 2.7183 → 2; 1 where both agree; 0 in the padding
    found = weights(TruncatedImportanceSampling(low=0.5, high=2.0), TOKENS, [3, 1])
    assert_close(found, table((0.5, exp(0.5), 2.0), (1.0, 0, 0)), rtol=1e-12, atol=0)


def test_truncated_importance_sampling_needs_no_lower_bound() -> None:
    # verl: a cap of 2 and nothing else
    found = weights(TruncatedImportanceSampling(low=0.0, high=2.0), TOKENS, [3, 1])
    assert_close(found, table((exp(-1), exp(0.5), 2.0), (1.0, 0, 0)), rtol=1e-12, atol=0)


def test_icepop_drops_tokens_outside_the_bounds() -> None:
    found = weights(Icepop(low=0.5, high=2.0), TOKENS, [3, 1])
    assert_close(found, table((0, exp(0.5), 0), (1.0, 0, 0)), rtol=1e-12, atol=0)


def test_sequence_mask_tis_drops_responses_by_their_geometric_mean() -> None:
    # verl's two sequences: e^−1 on all tokens is out, e^0.5 is in
    pair = table((-1.0, -1.0), (0.5, 0.5))
    found = weights(SequenceMaskTis(low=0.5, high=2.0), pair, [2, 2])
    assert_close(found, table((0, 0), (exp(0.5), exp(0.5))), rtol=1e-12, atol=0)


def test_sequence_mask_tis_keeps_far_tokens_of_a_near_response() -> None:
    # mean (1 − 0.8)/2 = 0.1, inside: both tokens keep a ratio outside the bounds
    pair = table((1.0, -0.8))
    found = weights(SequenceMaskTis(low=0.5, high=2.0), pair, [2])
    assert_close(found, table((exp(1.0), exp(-0.8))), rtol=1e-12, atol=0)
    assert not weights(Icepop(low=0.5, high=2.0), pair, [2]).any()


@pytest.mark.parametrize("kind", [Icepop, SequenceMaskTis])
def test_the_bounds_of_importance_weights_are_inside(kind: type[Icepop | SequenceMaskTis]) -> None:
    # ρ = 1 exactly
    for low, high, kept in ((1.0, 2.0, 1.0), (0.5, 1.0, 1.0), (1.1, 2.0, 0.0), (0.5, 0.9, 0.0)):
        assert weights(kind(low=low, high=high), table((0.0, 0.0)), [2]).tolist() == [[kept, kept]]


def test_sequence_mask_tis_of_one_token_judges_that_token() -> None:
    # e^1 = 2.72 > 2, e^0.6 = 1.82 < 2
    found = weights(SequenceMaskTis(low=0.5, high=2.0), table((1.0,), (0.6,)), [1, 1])
    assert_close(found, table((0.0,), (exp(0.6),)), rtol=1e-12, atol=0)


def test_importance_weights_are_one_where_sampling_is_not_changed() -> None:
    rollout = make_rollout()
    zero = torch.zeros_like(rollout.log_prob)
    for trick in (TruncatedImportanceSampling(), Icepop(), SequenceMaskTis()):
        found = weights(trick, zero, [5, 3, 1, 4])
        assert torch.equal(found, rollout.mask.double())


def entropies(entropy: Tensor, mask: Tensor) -> tuple[Evaluation, Rollout]:
    """Return an evaluation of the given entropy, and a rollout of the given mask."""
    rollout = replace(make_rollout([entropy.shape[1]] * entropy.shape[0]), mask=mask)
    return replace(make_evaluation(rollout), entropy=entropy.clone().requires_grad_()), rollout


RISING = table((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (0.7, 0.8, 0.9, 1.0, 1.1, 1.2))
OTHER = table((0.1, 0.2, 0.3, 1.4, 0.5, 0.14), (0.5, 0.6, 0.7, 0.8, 0.9, 1.0))


@pytest.mark.parametrize(
    ("entropy", "lengths", "share", "expected"),
    [
        (RISING, (6, 4), 0.2, ("000000", "001100")),
        (OTHER, (4, 4), 0.2, ("000100", "000100")),
        (RISING, (6, 4), 0.5, ("000001", "111100")),
        (RISING, (6, 4), 1.0, ("111111", "111100")),
        (RISING, (6, 4), 1e-9, ("000000", "000100")),
        (RISING, (0, 0), 0.5, ("000000", "000000")),
    ],
)
def test_high_entropy_tokens_agrees_with_the_vectors_of_trl(
    entropy: Tensor, lengths: tuple[int, int], share: float, expected: tuple[str, str]
) -> None:
    # TestGetHighEntropyMask of TRL's test_grpo_trainer.py; its threshold is 1 − share
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    new, rollout = entropies(entropy, mask)
    found = HighEntropyTokens(share=share)(new, rollout, rollout.advantage)
    assert found.tolist() == [[float(digit) for digit in line] for line in expected]
    assert not found.requires_grad


def test_a_lone_token_is_its_own_quantile() -> None:
    # n = 1: place (1 − ½)·0 = 0, the threshold is the token itself
    new, rollout = entropies(RISING, torch.tensor([[True] + [False] * 5, [False] * 6]))
    found = HighEntropyTokens(share=0.5)(new, rollout, rollout.advantage)
    assert found.tolist() == [[1.0] + [0.0] * 5, [0.0] * 6]


@pytest.mark.parametrize("share", [0.05, 0.33, 0.5, 0.9])
def test_the_threshold_is_the_quantile_of_torch(share: float) -> None:
    rollout = make_rollout()
    new = make_evaluation(rollout)
    threshold = torch.quantile(new.entropy[rollout.mask], 1 - share)
    found = HighEntropyTokens(share=share)(new, rollout, rollout.advantage)
    assert torch.equal(found.bool(), (new.entropy >= threshold) & rollout.mask)


def off_policy(log_prob: Tensor, advantage: Tensor, lengths: list[int]) -> list[list[float]]:
    """Return the weights at π_old = 1 everywhere and a threshold of 1."""
    rollout = make_rollout(lengths, log_prob=torch.zeros_like(log_prob))
    new = replace(make_evaluation(rollout), log_prob=log_prob.clone().requires_grad_())
    found = OffPolicyMask(threshold=1.0)(new, rollout, advantage.expand_as(log_prob) * rollout.mask)
    assert not found.requires_grad
    return found.tolist()


def test_off_policy_mask_agrees_with_the_vectors_of_trl() -> None:
    # test_get_off_policy_mask: good and far (KL 2) stays, bad and near (0.5) stays, bad and far goes
    far = table((-2.0,) * 4, (-0.5,) * 4, (-2.0,) * 4)
    found = off_policy(far, table((1.0,), (-1.0,), (-1.0,)), [4, 4, 4])
    assert found == [[1.0] * 4, [1.0] * 4, [0.0] * 4]


@pytest.mark.parametrize(("log_prob", "kept"), [(-2.0, 0.0), (-0.5, 1.0)])
def test_off_policy_mask_ignores_padding_as_that_of_trl(log_prob: float, kept: float) -> None:
    # test_get_off_policy_mask_padding: two tokens, then nonsense; here its padding has weight 0
    padded = table((log_prob, log_prob, -10_000.0, 10_000.0), (0.0,) * 4)
    found = off_policy(padded, table((-1.0,), (-1.0,)), [2, 4])
    assert found == [[kept, kept, 0.0, 0.0], [1.0] * 4]


def test_off_policy_mask_drops_the_negative_tokens_of_a_mixed_response() -> None:
    found = off_policy(table((-2.0, -2.0, -2.0)), table((1.0, -1.0, 0.0)), [3])
    assert found == [[1.0, 0.0, 1.0]]


def test_off_policy_mask_keeps_a_response_at_the_threshold() -> None:
    # log π_old − log π = 1 = δ, and a response of one token that is 1.5 away, of mean 1.5/1
    found = off_policy(table((-1.0, -1.0), (-1.5, 0.0)), table((-1.0,), (-1.0,)), [2, 1])
    assert found == [[1.0, 1.0], [0.0, 0.0]]


def test_off_policy_mask_does_not_mind_a_response_that_became_likelier() -> None:
    # log π_old − log π = −2: signed, so far below the threshold
    assert off_policy(table((2.0, 2.0)), table((-1.0,)), [2]) == [[1.0, 1.0]]
