"""Early stopping when the policy has moved far enough from the one that sampled."""

from math import inf

import torch
from torch import Tensor

from workbench.maths import kl_estimate, masked_mean
from workbench.trick import Stopping, hyper
from workbench.types import Evaluation, Rollout


class TargetKlStop(Stopping):
    """Leave the rest of a buffer alone once the policy has moved further than a target.

        stop if mean_t (ρ_t − 1 − ℓ_t) > 1.5 · KL*

    Variant: estimator k3 of KL(π_old ‖ π), mean over response tokens of the minibatch at hand, asked
    before its step, so the step that exceeds it is not made. 1.5 is Stable-Baselines3's and RL4LMs';
    the 37-details code has 1 and asks after each epoch. Off by default in all of them.
    Source: RL4LMs ppo.py, commit 97df0bd2; ppo-implementation-details ppo.py, commit fbef824e.
    """

    target: float = hyper(default=0.015, above=0, search=(0.003, 0.3), log=True)
    neutral = {"target": inf}

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        log_ratio = torch.where(minibatch.mask, new.log_prob - minibatch.log_prob, 0.0)
        return masked_mean(kl_estimate(-log_ratio, "k3"), minibatch.mask) > 1.5 * self.target
