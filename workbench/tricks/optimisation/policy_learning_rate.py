"""A factor on the policy's learning rate."""

from dataclasses import replace

from workbench.trick import OptimisationTransform, hyper
from workbench.types import Optimisation


class PolicyLearningRate(OptimisationTransform):
    """Multiply the policy's learning rate.

        lr_π ← c · lr_π

    Variant: a factor on the run's own policy_learning_rate, which schedules multiply again; made for
    recipes and searches. Systems differ with the size of their models, from 5e-7 (MOSS-RLHF) and 1e-6
    (OpenRLHF, verl, RL4LMs) over 3e-6 (TRL) to 3e-5 (trlX).
    Source: MOSS-RLHF, commit 4865d826; TRL, f2cd5771; arXiv:2307.04964, §5.1.
    """

    factor: float = hyper(default=0.3, above=0, search=(0.1, 10.0), log=True)
    neutral = {"factor": 1.0}

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        return replace(optimisation, policy_rate=self.factor * optimisation.policy_rate)
