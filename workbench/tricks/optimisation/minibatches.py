"""Minibatches per buffer."""

from dataclasses import replace

from workbench.trick import OptimisationTransform, hyper
from workbench.types import Optimisation


class Minibatches(OptimisationTransform):
    """Split each buffer into a number of minibatches, one optimiser step each.

        minibatch = buffer / count

    Variant: instead of the run's minibatch_size; count must divide the buffer, so that all minibatches
    are of one size. TRL and lm-human-preferences have 1; MOSS-RLHF, trlX, verl and the 37 details 4;
    OpenRLHF 8; RL4LMs counts 64 tokens, not responses, to a minibatch.
    Source: 37 details, commit fbef824e; OpenRLHF, 3c3be623; arXiv:1707.06347, algorithm 1.
    """

    count: int = hyper(default=4, at_least=1, search=(1, 16), log=True)

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        if buffer_size % self.count:
            raise ValueError(
                f"minibatches.count must divide the buffer size {buffer_size}, got {self.count}"
            )
        return replace(optimisation, minibatch_size=buffer_size // self.count)
