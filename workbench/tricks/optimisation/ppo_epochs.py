"""Passes over each buffer."""

from dataclasses import replace

from workbench.trick import OptimisationTransform, hyper
from workbench.types import Optimisation


class PpoEpochs(OptimisationTransform):
    """Go over each buffer several times.

        optimiser steps per buffer = epochs · buffer / minibatch

    Variant: instead of the run's own number. More passes move the ratio further from 1, which is what
    clipping is for. TRL, trlX, lm-human-preferences and the 37 details have 4, RL4LMs 5, MOSS-RLHF,
    OpenRLHF, verl and DeepSpeed-Chat 1; DeepSpeed-Chat calls more "very unstable".
    Source: Schulman et al. 2017, arXiv:1707.06347, algorithm 1; TRL, commit f2cd5771.
    """

    epochs: int = hyper(default=4, at_least=1, search=(1, 8))

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        return replace(optimisation, epochs=self.epochs)
