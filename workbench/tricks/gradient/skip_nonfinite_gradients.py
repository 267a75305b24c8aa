"""No step from gradients that are not finite."""

from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.trick import GradientTransform


class SkipNonfiniteGradients(GradientTransform):
    """Set all gradients to 0 when any of them is infinite or not a number.

        g̃ = g if every element of policy and critic is finite, else 0

    Variant: Adam still moves by its momentum, its moments decay and its count goes on, where mixed
    precision training leaves the step out. MOSS-RLHF warns of a loss that is not finite and steps all
    the same; DeepSpeed-Chat's align_overflow skips both models' steps.
    Source: Micikevicius et al. 2018, arXiv:1710.03740; DeepSpeed-Chat, commit 83757d9c.
    """

    def __call__(
        self, policy: Sequence[Tensor], critic: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        both = [*policy, *critic]
        is_finite = torch.stack([gradient.isfinite().all() for gradient in both]).all()
        kept = [torch.where(is_finite, gradient, 0.0) for gradient in both]
        return kept[: len(policy)], kept[len(policy) :]
