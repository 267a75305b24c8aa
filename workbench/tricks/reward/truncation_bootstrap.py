"""A value behind responses that were cut."""

import torch
from torch import Tensor

from workbench.maths import at_last_token
from workbench.trick import RewardTransform, hyper
from workbench.types import Rollout


class TruncationBootstrap(RewardTransform):
    """Add the critic's value of what would follow to the last reward of a response cut at the cap.

        r̃_T = r_T + γ V_end [no end token]

    Variant: the cap is then a limit of sampling, not the end of the task; γ has to be that of the
    advantages. The value is added last: no penalty, scale or whitening reaches it. The RLHF systems
    treat a cut response as ended (V = 0); RL4LMs bootstraps only at the end of its buffer.
    Source: Pardo et al. 2018, arXiv:1712.00378 (partial-episode bootstrapping); the 37 details'
    ppo.py, commit fbef824e, does so at the end of a rollout.
    """

    after = ("score_after_end", "kl_penalty", "token_reward_normaliser")
    needs = frozenset({"end_value"})
    requires_critic = True
    matches = {
        "discount": (
            *("gae.discount", "decoupled_gae.discount", "length_adaptive_gae.discount"),
            "monte_carlo.discount",
        )
    }
    discount: float = hyper(default=1.0, at_least=0, at_most=1)

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        following = torch.where(rollout.is_truncated, rollout.end_value, 0.0)
        return reward + self.discount * at_last_token(following, rollout.mask)
