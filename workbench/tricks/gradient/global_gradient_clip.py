"""Global gradient clipping."""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from workbench.trick import GradientTransform, hyper


class GlobalGradientClip(GradientTransform):
    """Shrink all gradients together when their joint norm exceeds a maximum.

        g̃ = g · min(1, c / (‖g‖ + 10⁻⁶))

    Variant: one Euclidean norm over policy and critic together, as one wrapped model in MOSS-RLHF.
    Source: Pascanu et al. 2013, arXiv:1211.5063; detail 12 of arXiv:2307.04964, with 0.5 and 1.
    """

    group = "gradient_clip"
    after = ("skip_nonfinite_gradients",)
    max_norm: float = hyper(default=1.0, above=0, search=(0.1, 10.0), log=True)
    neutral = {"max_norm": inf}

    def __call__(
        self, policy: Sequence[Tensor], critic: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        both = [*policy, *critic]
        norm = torch.stack([gradient.pow(2).sum() for gradient in both]).sum().sqrt()
        factor = (self.max_norm / (norm + 1e-6)).clamp(max=1.0)
        return [gradient * factor for gradient in policy], [gradient * factor for gradient in critic]
