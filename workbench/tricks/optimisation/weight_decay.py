"""Decoupled weight decay."""

from dataclasses import replace

from workbench.trick import OptimisationTransform, hyper
from workbench.types import Optimisation


class WeightDecay(OptimisationTransform):
    """Shrink every weight a little at each step, apart from its gradient.

        θ ← θ − lr · λ · θ − lr · m̂ / (√v̂ + ε)

    Variant: AdamW's, on all weights of policy and critic alike, norms and biases too. It pulls towards
    0, not towards the SFT policy. verl has 0.01, trlX and RL4LMs 1e-6, MOSS-RLHF, OpenRLHF and
    DeepSpeed-Chat AdamW with 0, the textbook.
    Source: Loshchilov & Hutter 2019, arXiv:1711.05101; verl, commit b178a3cd.
    """

    decay: float = hyper(default=0.01, at_least=0, search=(1e-6, 0.1), log=True)
    neutral = {"decay": 0.0}

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        return replace(optimisation, weight_decay=self.decay)
