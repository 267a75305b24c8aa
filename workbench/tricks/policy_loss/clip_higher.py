"""Decoupled clip range, wider above than below: DAPO's clip-higher."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class ClipHigher(PolicyLoss):
    """Let the ratio of a good token rise further than that of a bad one may fall.

        L_t = −min(ρ_t Â_t, clip(ρ_t, 1 − ε_low, 1 + ε_high) Â_t)

    Variant: per token; equal ranges make it `clipped_surrogate`. DAPO has 0.2 and 0.28, OpenRLHF's
    DAPO script 0.2 and 0.27; verl and TRL default to equal ranges of 0.2.
    Source: Yu et al. 2025, arXiv:2503.14476; OpenRLHF loss.py, commit 3c3be623.
    """

    clip_range_low: float = hyper(default=0.2, above=0, search=(0.05, 0.5), log=True)
    clip_range_high: float = hyper(default=0.28, above=0, search=(0.05, 1.0), log=True)
    neutral = {"clip_range_low": inf, "clip_range_high": inf}

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip_range_low, 1 + self.clip_range_high)
        return -torch.minimum(ratio * advantage, clipped * advantage)
