"""Reward whitening over the rollout, the mean kept."""

import torch
from torch import Tensor

from workbench.maths import masked_mean, masked_variance
from workbench.trick import ScoreTransform, hyper
from workbench.types import Rollout


class RewardBatchWhitening(ScoreTransform):
    """Scale the deviations of a rollout's scores from their mean to variance 1; keep the mean.

        r̃ = (r − μ) / √(σ² + ε) + μ

    Variant: μ and σ² (unbiased, ε inside the root) are those of this rollout alone, no history. trlX
    whitens with NeMo only; over several processes its σ² is biased.
    Source: trlX nemo_ppo_trainer.py, commit 3340c2f3 (`scale_reward="whiten"`).
    """

    group = "reward_normaliser"
    batch_statistic = True
    epsilon: float = hyper(default=1e-8, above=0)

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        every = torch.ones_like(score, dtype=torch.bool)
        mean = masked_mean(score, every)
        variance = masked_variance(score, every, unbiased=True)
        return (score - mean) * (variance + self.epsilon).rsqrt() + mean
