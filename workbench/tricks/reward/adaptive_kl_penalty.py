"""Token-level KL penalty with a controlled weight."""

import torch
from torch import Tensor

from workbench.maths import DelayedFactor
from workbench.trick import RewardTransform, hyper, state
from workbench.types import Rollout


class AdaptiveKlPenalty(RewardTransform):
    """Charge every response token for its log-ratio; steer the weight towards a KL per response.

        r̃_t = r_t − β d_t          β ← β (1 + clip(KL/KL* − 1, −e, e) n/H)          KL = mean Σ_t d_t

    Variant: d = log π_old − log π_ref, the signed k1, summed per response; n responses in the rollout.
    β moves behind the rollout that was measured, so a rollout is charged with the β of before it. trlX
    measures another KL, over prompt tokens too, and moves β once per epoch, not once per rollout.
    Source: Ziegler et al. 2019, arXiv:1909.08593, §2.2; OpenAI lm-human-preferences train_policy.py,
    commit cbfd210b, with β₀ = 0.15, KL* = 6, H = 10000 (its data class: β fixed at 0.2).
    """

    group = "kl_penalty"
    after = ("score_after_end",)
    weight: float = hyper(default=0.15, at_least=0, search=(0.005, 0.5), log=True)
    target: float = hyper(default=6.0, above=0, search=(0.1, 20.0), log=True)
    horizon: float = hyper(default=10000.0, above=0, search=(1000.0, 100000.0), log=True)
    error_clip: float = hyper(default=0.2, at_least=0)
    neutral = {"weight": 0.0}
    factor: DelayedFactor = state(DelayedFactor)

    def observe(self, rollout: Rollout) -> None:
        divergence = self._log_ratio(rollout).sum(1).mean()
        error = (divergence / self.target - 1).clamp(-self.error_clip, self.error_clip)
        self.factor.update(1 + error * rollout.score.shape[0] / self.horizon)

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        weight = (self.weight * self.factor.value).to(reward.dtype)
        return reward - weight * self._log_ratio(rollout)

    def _log_ratio(self, rollout: Rollout) -> Tensor:
        return torch.where(rollout.mask, rollout.log_prob - rollout.ref_log_prob, 0.0)
