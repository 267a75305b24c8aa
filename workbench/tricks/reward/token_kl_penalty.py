"""Token-level KL penalty in the reward."""

import torch
from torch import Tensor

from workbench.trick import RewardTransform, hyper
from workbench.types import Rollout


class TokenKlPenalty(RewardTransform):
    """Charge every response token for its log-ratio to the reference policy.

        r̃_t = r_t − η (log π_old(y_t) − log π_ref(y_t))

    Variant: estimator k1, signed, on every response token and no other; η is fixed. Zero at the SFT
    policy. The penalty is not normalised or clipped with the score.
    Source: detail 1 of arXiv:2307.04964, §5.3.2, with η = 0.05; Ouyang et al. 2022, arXiv:2203.02155.
    """

    after = ("return_scaling",)
    weight: float = hyper(default=0.05, at_least=0, search=(0.005, 0.5), log=True)
    neutral = {"weight": 0.0}

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        log_ratio = torch.where(rollout.mask, rollout.log_prob - rollout.ref_log_prob, 0.0)
        return reward - self.weight * log_ratio
