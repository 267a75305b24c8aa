"""The clipped surrogate objective of PPO: the textbook."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class ClippedSurrogate(PolicyLoss):
    """Stop rewarding a token once its policy ratio has left the clip range.

        L_t = −min(ρ_t Â_t, clip(ρ_t, 1 − ε, 1 + ε) Â_t)          ρ_t = π(y_t) / π_old(y_t)

    Variant: per token, one ε for both sides.
    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 7; detail 11 of arXiv:2307.04964.
    """

    clip_range: float = hyper(default=0.2, above=0, search=(0.05, 0.5), log=True)
    neutral = {"clip_range": inf}

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        return -torch.minimum(ratio * advantage, clipped * advantage)
