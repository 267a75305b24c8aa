"""Clipped importance weights on the policy gradient: CISPO."""

from torch import Tensor

from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class Cispo(PolicyLoss):
    """Clip the weight of a token's policy gradient instead of cutting the gradient off.

        L_t = −sg[clip(ρ_t, 1 − ε_low, 1 + ε_high)] Â_t log π(y_t)

    Variant: sg stops the gradient, so every token keeps one. ε_low = 1 is no lower bound, as in the
    paper and in TRL, whose upper bound is ε_high itself rather than 1 + ε_high; verl clips on both
    sides at 0.2. With infinite ranges it has the gradient of `unclipped_surrogate`.
    Source: MiniMax 2025, arXiv:2506.13585; verl core_algos.py, commit b178a3cd.
    """

    clip_range_low: float = hyper(default=1.0, above=0, search=(0.1, 1.0))
    clip_range_high: float = hyper(default=0.2, above=0, search=(0.1, 5.0), log=True)

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        weight = log_ratio.detach().exp().clamp(1 - self.clip_range_low, 1 + self.clip_range_high)
        return -weight * advantage * new.log_prob
