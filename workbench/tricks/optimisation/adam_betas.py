"""Adam's decay rates β₁ and β₂."""

from dataclasses import replace

from workbench.trick import OptimisationTransform, hyper
from workbench.types import Optimisation


class AdamBetas(OptimisationTransform):
    """Set how slowly Adam's two moments forget.

        m ← β₁ m + (1 − β₁) g          v ← β₂ v + (1 − β₂) g²

    Variant: the same for policy and critic. MOSS-RLHF, trlX, OpenRLHF and DeepSpeed-Chat take
    (0.9, 0.95); TRL, verl, RL4LMs and lm-human-preferences (0.9, 0.999), the textbook.
    Source: MOSS-RLHF, commit 4865d826; OpenRLHF, 3c3be623; arXiv:1412.6980.
    """

    first: float = hyper(default=0.9, at_least=0, at_most=0.999, search=(0.5, 0.99))
    second: float = hyper(default=0.95, at_least=0, at_most=0.99999, search=(0.9, 0.999))
    neutral = {"first": 0.9, "second": 0.999}

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        return replace(optimisation, betas=(self.first, self.second))
