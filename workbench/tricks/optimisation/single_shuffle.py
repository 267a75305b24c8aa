"""One shuffle of a buffer for all its epochs."""

from dataclasses import replace

from workbench.trick import OptimisationTransform
from workbench.types import Optimisation


class SingleShuffle(OptimisationTransform):
    """Keep the order of the first epoch for all epochs of a buffer.

        every epoch goes over the same minibatches in the same order

    Variant: without it every epoch draws a new order, as lm-human-preferences, TRL, trlX, RL4LMs and the
    37 details do. MOSS-RLHF shuffles once and verl not at all. With one epoch it changes nothing.
    Source: verl ppo shuffle False, commit b178a3cd; MOSS-RLHF, commit 4865d826.
    """

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        return replace(optimisation, is_reshuffled=False)
