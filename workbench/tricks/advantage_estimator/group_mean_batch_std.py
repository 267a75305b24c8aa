"""Total rewards centred within the group and scaled over the batch."""

import torch
from torch import Tensor

from workbench.maths import at_every_token, group_mean, masked_variance, response_sum
from workbench.trick import AdvantageEstimator, hyper
from workbench.types import Rollout


class GroupMeanBatchStd(AdvantageEstimator):
    """Centre the total reward within its group and divide by the standard deviation over the rollout.

        Â_i = (R_i − μ_g)/(σ_B + ε)          R_i = Σ_t r_t

    Variant: σ_B is that of R over all responses of the rollout, not of R − μ_g, so differences between
    prompts are in it; unbiased, ε outside the root, as TRL's scale_rewards="batch". No critic.
    Source: Lite PPO, arXiv:2508.08221; TRL grpo_trainer.py at commit f2cd5771.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True
    epsilon: float = hyper(default=1e-4, above=0)

    def __call__(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        total = response_sum(rollout.reward, rollout.mask)
        everything = torch.ones_like(total, dtype=torch.bool)
        std = masked_variance(total, everything, unbiased=True).sqrt()
        scaled = (total - group_mean(total, rollout.group)) / (std + self.epsilon)
        return at_every_token(scaled, rollout.mask), at_every_token(total, rollout.mask)
