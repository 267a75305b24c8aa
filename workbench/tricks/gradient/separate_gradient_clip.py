"""Gradient clipping of each model by its own norm."""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from workbench.trick import GradientTransform, hyper


class SeparateGradientClip(GradientTransform):
    """Shrink the gradients of a model when the norm of that model's gradients exceeds a maximum.

        g̃ = g · min(1, c / (‖g‖ + 10⁻⁶)), for the policy and for the critic

    Variant: two Euclidean norms, so a large value loss does not shrink the policy's step, as it does in
    `global_gradient_clip`. OpenRLHF, verl and DeepSpeed-Chat, with an optimiser each, at 1.0.
    Source: OpenRLHF, commit 3c3be623; verl, commit b178a3cd; DeepSpeed-Chat, commit 83757d9c.
    """

    group = "gradient_clip"
    after = ("skip_nonfinite_gradients",)
    max_norm: float = hyper(default=1.0, above=0, search=(0.1, 10.0), log=True)
    neutral = {"max_norm": inf}

    def __call__(
        self, policy: Sequence[Tensor], critic: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        return self._clipped(policy), self._clipped(critic)

    def _clipped(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        if not gradients:
            return []
        norm = torch.stack([gradient.pow(2).sum() for gradient in gradients]).sum().sqrt()
        factor = (self.max_norm / (norm + 1e-6)).clamp(max=1.0)
        return [gradient * factor for gradient in gradients]
