"""Whitening of the reward per token, the mean kept."""

import torch
from torch import Tensor

from workbench.maths import masked_mean, masked_variance
from workbench.trick import RewardTransform, hyper
from workbench.types import Rollout


class TokenRewardWhitening(RewardTransform):
    """Scale the deviations of the rewards per token from their mean to variance 1; keep the mean.

        r̃_t = (r_t − μ) / √(σ² + ε) + μ

    Variant: over all response tokens of the rollout, score and KL penalty together, ε inside the root;
    σ² is biased in OpenAI's and the N details' code, unbiased in TRL. OpenAI whitens per minibatch, in
    the loss; TRL per local batch. On in OpenAI's code and the N details, off in N+ and TRL.
    Source: OpenAI lm-human-preferences utils/core.py, commit cbfd210b; lm-human-preference-details,
    commit ccc19538; TRL ppo_trainer.py, commit f2cd5771 (`whiten_rewards`).
    """

    group = "token_reward_normaliser"
    after = ("score_after_end", "kl_penalty")
    batch_statistic = True
    unbiased: bool = hyper(default=False, choices=(False, True))
    epsilon: float = hyper(default=1e-8, above=0)

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        mean = masked_mean(reward, rollout.mask)
        variance = masked_variance(reward, rollout.mask, unbiased=self.unbiased)
        whitened = (reward - mean) * (variance + self.epsilon).rsqrt() + mean
        return torch.where(rollout.mask, whitened, 0.0)
