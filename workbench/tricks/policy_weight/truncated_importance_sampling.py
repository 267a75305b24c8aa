"""Importance weights for what was sampled from, truncated."""

import torch
from torch import Tensor

from workbench.trick import PolicyWeight, hyper
from workbench.types import Evaluation, Rollout


class TruncatedImportanceSampling(PolicyWeight):
    """Weigh tokens by how likely π_old was to draw them, relative to what did draw them.

        w_t = clip(π_old(y_t) / μ_old(y_t), low, high)          μ_old is π_old after the logits tricks

    Variant: per token, from the rollout, so the same in every epoch. Elsewhere it mends the mismatch of
    training and inference engine; here it mends top-p, a repetition penalty and the like. Bounds 0.5
    and 5 in OpenRLHF, at most 2 in verl and 3 in TRL, both without a lower bound. Not together with
    `behaviour_ratio`, which counts the same twice.
    Source: Yao et al. 2025, in verl at commit b178a3cd; OpenRLHF loss.py, commit 3c3be623.
    """

    group = "importance_weight"
    excludes = ("behaviour_ratio",)
    low: float = hyper(default=0.5, at_least=0, search=(0.0, 1.0))
    high: float = hyper(default=5.0, above=0, search=(1.0, 10.0), log=True)
    neutral = {"low": 1.0, "high": 1.0}

    def __call__(self, new: Evaluation, minibatch: Rollout, advantage: Tensor) -> Tensor:
        ratio = (minibatch.log_prob - minibatch.behaviour_log_prob).exp()
        return torch.where(minibatch.mask, ratio.clamp(self.low, self.high), 0.0)
