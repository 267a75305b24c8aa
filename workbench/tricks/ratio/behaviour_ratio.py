"""The ratio of what is really sampled from."""

import torch
from torch import Tensor

from workbench.trick import RatioTransform
from workbench.types import Evaluation, Rollout


class BehaviourRatio(RatioTransform):
    """Take the policy ratio between the distributions after top-p, masks and the like.

        ℓ_t = log μ(y_t) − log μ_old(y_t)          μ is π after the recipe's logits tricks

    Variant: numerator and denominator both under the logits tricks, so it starts at 1. RL4LMs' NLPO
    takes its ratio under the token mask like this; MOSS-RLHF samples with top-p and a repetition
    penalty and takes the ratio of π without them. Without logits tricks it changes nothing, unless
    the temperatures of sampling and of log-probabilities differ.
    Source: Ramamurthy et al. 2022, arXiv:2210.01241; RL4LMs nlpo.py, commit 97df0bd2.
    """

    group = "ratio_base"
    needs = frozenset({"behaviour_log_prob"})

    def __call__(self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout) -> Tensor:
        ratio = new.behaviour_log_prob - minibatch.behaviour_log_prob
        return torch.where(minibatch.mask, ratio, 0.0)
