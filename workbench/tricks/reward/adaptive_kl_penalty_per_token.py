"""Token-level KL penalty with a weight controlled by the KL per token."""

import torch
from torch import Tensor

from workbench.maths import DelayedFactor, masked_mean
from workbench.trick import RewardTransform, hyper, state
from workbench.types import Rollout


class AdaptiveKlPenaltyPerToken(RewardTransform):
    """Charge every response token for its log-ratio; steer the weight towards a KL per token.

        r̃_t = r_t − β d_t          β ← β (1 + κ clip(KL/KL* − 1, −e, e))          KL = mean d_t

    Variant: d = log π_old − log π_ref, the signed k1, averaged over the rollout's response tokens, so
    KL* is per token; the step κ e does not depend on the rollout's size. A rollout is charged with the β
    of before it. KL* is 0.05 to 3 in RL4LMs' tasks; OpenRLHF and verl also measure per token, but move β
    as `adaptive_kl_penalty` does.
    Source: RL4LMs kl_controllers.py, commit 97df0bd2; arXiv:2210.01241.
    """

    group = "kl_penalty"
    after = ("score_after_end",)
    weight: float = hyper(default=0.1, at_least=0, search=(0.005, 0.5), log=True)
    target: float = hyper(default=0.1, above=0, search=(0.01, 3.0), log=True)
    gain: float = hyper(default=0.1, at_least=0, search=(0.01, 1.0), log=True)
    error_clip: float = hyper(default=0.2, at_least=0)
    neutral = {"weight": 0.0}
    factor: DelayedFactor = state(DelayedFactor)

    def observe(self, rollout: Rollout) -> None:
        divergence = masked_mean(self._log_ratio(rollout), rollout.mask)
        error = (divergence / self.target - 1).clamp(-self.error_clip, self.error_clip)
        self.factor.update(1 + self.gain * error)

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        weight = (self.weight * self.factor.value).to(reward.dtype)
        return reward - weight * self._log_ratio(rollout)

    def _log_ratio(self, rollout: Rollout) -> Tensor:
        return torch.where(rollout.mask, rollout.log_prob - rollout.ref_log_prob, 0.0)
