"""Normalisation of the reward per token, the mean removed."""

import torch
from torch import Tensor

from workbench.maths import masked_mean, masked_variance
from workbench.trick import RewardTransform, hyper
from workbench.types import Rollout


class TokenRewardNorm(RewardTransform):
    """Give the rewards per token mean 0 and deviation 1.

        r̃_t = (r_t − μ) / (σ + ε)

    Variant: over all response tokens of the rollout, score and KL penalty together; σ is biased, ε
    outside the root. Every token is charged μ, so a positive mean reward favours short responses and a
    negative one long ones; `token_reward_whitening` keeps the mean. Off by default in RL4LMs.
    Source: RL4LMs alg_wrappers.py, commit 97df0bd2 (`norm_reward`).
    """

    group = "token_reward_normaliser"
    after = ("score_after_end", "kl_penalty")
    batch_statistic = True
    epsilon: float = hyper(default=1e-8, above=0)

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        mean = masked_mean(reward, rollout.mask)
        std = masked_variance(reward, rollout.mask, unbiased=False).sqrt()
        return torch.where(rollout.mask, (reward - mean) / (std + self.epsilon), 0.0)
