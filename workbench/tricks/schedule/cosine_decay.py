"""Cosine learning-rate decay."""

from math import cos, pi

from workbench.trick import Schedule, hyper
from workbench.types import Rates


class CosineDecay(Schedule):
    """Lower both learning rates along half a cosine over the run.

        factor = f + (1 − f) · (1 + cos(π k / K)) / 2          k = iteration, K = iterations

    Variant: stepped once per iteration, from the first. OpenRLHF ends at f = 0.1 and DeepSpeed-Chat
    at 0, both once the warm-up is over, where `learning_rate_warmup` multiplies it here. trlX names a
    cosine whose end is its start, which is constant; N+ names one and runs a linear decay.
    Source: OpenRLHF, commit 3c3be623; Loshchilov & Hutter 2017, arXiv:1608.03983.
    """

    final: float = hyper(default=0.1, at_least=0, at_most=1, search=(0.0, 0.5))
    group = "decay"
    neutral = {"final": 1.0}

    def __call__(self, iteration: int, iterations: int) -> Rates:
        factor = self.final + (1 - self.final) * (1 + cos(pi * iteration / iterations)) / 2
        return Rates(policy=factor, critic=factor)
