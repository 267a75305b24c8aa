"""What TRL 1.12.0 computes on the same numbers, where its helpers can be called."""

import copy
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.builders import make_rollout, tiny_gpt2
from workbench.maths import masked_mean, masked_variance
from workbench.registry import registry
from workbench.tricks.advantage.advantage_norm import AdvantageNorm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trl.experimental.ppo import ppo_trainer as trl
    from trl.trainer.callbacks import SyncRefModelCallback


def test_advantage_norm_unbiased_equals_masked_whiten_of_trl() -> None:
    rollout = make_rollout(seed=3)
    ours = AdvantageNorm(unbiased=True, epsilon=1e-8)(rollout.advantage, rollout.mask)
    theirs = trl.masked_whiten(rollout.advantage, rollout.mask)
    torch.testing.assert_close(ours[rollout.mask], theirs[rollout.mask], rtol=1e-6, atol=1e-9)


def test_advantage_norm_as_it_is_differs_from_trl_by_bessels_correction() -> None:
    rollout = make_rollout(seed=3)
    ours = AdvantageNorm(epsilon=0.0)(rollout.advantage, rollout.mask)[rollout.mask]
    theirs = trl.masked_whiten(rollout.advantage, rollout.mask)[rollout.mask]
    n = int(rollout.mask.sum())
    # biased variance = unbiased · (n − 1)/n, so our values are larger by √(n/(n − 1))
    torch.testing.assert_close(
        ours / theirs, torch.full_like(ours, (n / (n - 1)) ** 0.5), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_masked_statistics_equal_those_of_trl(seed: int) -> None:
    rollout = make_rollout(seed=seed)
    values, mask = rollout.value, rollout.mask
    assert masked_mean(values, mask) == pytest.approx(float(trl.masked_mean(values, mask)), rel=1e-12)
    ours = masked_variance(values, mask, unbiased=True)
    # TRL divides two integer tensors for Bessel's correction, which torch does in float32
    assert ours == pytest.approx(float(trl.masked_var(values, mask)), rel=1e-6)


def test_rollout_advantage_norm_is_masked_whiten_of_trl() -> None:
    rollout = make_rollout(seed=4)
    ours = registry()["rollout_advantage_norm"]()(rollout.advantage, rollout)
    theirs = trl.masked_whiten(rollout.advantage, rollout.mask)
    torch.testing.assert_close(ours[rollout.mask], theirs[rollout.mask], rtol=1e-6, atol=1e-9)


def test_token_reward_whitening_is_masked_whiten_of_trl_with_the_mean_kept() -> None:
    rollout = make_rollout(seed=5)
    ours = registry()["token_reward_whitening"](unbiased=True)(rollout.reward, rollout)
    theirs = trl.masked_whiten(rollout.reward, rollout.mask, shift_mean=False)
    torch.testing.assert_close(ours[rollout.mask], theirs[rollout.mask], rtol=1e-6, atol=1e-9)


def test_reference_refresh_moves_weights_as_trls_callback_does() -> None:
    policy, ours = tiny_gpt2(0), tiny_gpt2(1)
    theirs: Any = copy.deepcopy(ours)
    models: Any = SimpleNamespace(policy=policy, reference=ours)
    registry()["reference_refresh"](share=0.6, every=1)(models, 0)
    SyncRefModelCallback._sync_target_model(policy, theirs, 0.6)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)
