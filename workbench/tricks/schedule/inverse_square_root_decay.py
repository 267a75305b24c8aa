"""Inverse-square-root learning-rate decay."""

from math import sqrt

from workbench.trick import Schedule, hyper
from workbench.types import Rates


class InverseSquareRootDecay(Schedule):
    """Lower both learning rates with the root of the iterations, after a first share of the run.

        factor = max(√W / √max(W, k + 1), f)          W = max(1, s·K), k = iteration, K = iterations

    Variant: 1 over the first W iterations: the ramp is `learning_rate_warmup`, which multiplies it
    and at the same share s makes it MOSS-RLHF's schedule, where W is 100 of 1000 steps. That one counts
    optimiser steps from 0, starts at a tenth at least and ends at f = 1e-8 at least.
    Source: MOSS-RLHF ppo_trainer.py invsqrt_scheduler, commit 4865d826; arXiv:1706.03762, §5.3.
    """

    share: float = hyper(default=0.1, at_least=0, at_most=1, search=(0.0, 0.3))
    final: float = hyper(default=0.0, at_least=0, at_most=1, search=(0.0, 0.5))
    group = "decay"
    neutral = {"final": 1.0}

    def __call__(self, iteration: int, iterations: int) -> Rates:
        span = max(1.0, self.share * iterations)
        factor = max(sqrt(span / max(span, iteration + 1)), self.final)
        return Rates(policy=factor, critic=factor)
