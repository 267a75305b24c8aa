"""Clipped log-ratios, averaged over a response: geometric-mean policy optimisation."""

import torch
from torch import Tensor

from workbench.maths import at_every_token, response_mean
from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class Gmpo(PolicyLoss):
    """Weight a response's advantage by the geometric mean of its clipped ratios.

        ℓ̃_t = s min(s ℓ_t, s clip(ℓ_t, −ε, ε))          s = sign Â_t
        L_t = −Ā exp(1/|y| Σ_s ℓ̃_s)                      Ā = 1/|y| Σ_s Â_s

    Variant: the same loss on every token of a response, so that `sequence_mean` gives GMPO's
    1/B Σ_b; `token_mean` would weigh it by length. ε bounds log-ratios: 0.4 in the paper, verl's
    geo_mean takes its clip ratio of 0.2. A token with Â = 0 counts in |y| with ℓ̃ = 0, as in verl.
    Source: Zhao et al. 2025, arXiv:2507.20673; verl core_algos.py, commit b178a3cd.
    """

    clip_range: float = hyper(default=0.4, above=0, search=(0.05, 1.0), log=True)

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        mask, sign = minibatch.mask, advantage.sign()
        clipped = log_ratio.clamp(-self.clip_range, self.clip_range)
        kept = sign * torch.minimum(sign * log_ratio, sign * clipped)
        level, ratio = response_mean(advantage, mask), response_mean(kept, mask).exp()
        return at_every_token(-level * ratio, mask)
