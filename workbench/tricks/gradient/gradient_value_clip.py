"""Gradient clipping element by element."""

from collections.abc import Sequence
from math import inf

from torch import Tensor

from workbench.trick import GradientTransform, hyper


class GradientValueClip(GradientTransform):
    """Clamp every element of the gradients.

        g̃_i = clip(g_i, −c, c)

    Variant: changes the gradient's direction, where clipping by norm does not. No PPO system of the
    survey does it; torch calls it clip_grad_value_.
    Source: Pascanu et al. 2013, arXiv:1211.5063, §3.2, on Mikolov 2012; coordinate-wise clipping in
    Zhang et al. 2020, arXiv:1912.03194.
    """

    group = "gradient_clip"
    after = ("skip_nonfinite_gradients",)
    max_abs: float = hyper(default=1.0, above=0, search=(0.01, 10.0), log=True)
    neutral = {"max_abs": inf}

    def __call__(
        self, policy: Sequence[Tensor], critic: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        clipped = [[g.clamp(-self.max_abs, self.max_abs) for g in model] for model in (policy, critic)]
        return clipped[0], clipped[1]
