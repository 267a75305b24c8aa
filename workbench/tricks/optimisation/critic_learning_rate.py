"""A learning rate of its own for the critic."""

from dataclasses import replace

from workbench.trick import OptimisationTransform, hyper
from workbench.types import Optimisation


class CriticLearningRate(OptimisationTransform):
    """Multiply the critic's learning rate.

        lr_V ← c · lr_V

    Variant: a factor on the run's own critic_learning_rate, which schedules multiply again. Critic
    to policy, the systems have 10 (verl), 9 (OpenRLHF), 3 (MOSS-RLHF; 3.3 in its paper), 0.5
    (DeepSpeed-Chat) and 1, one rate for both (TRL, trlX, RL4LMs, lm-human-preferences).
    Source: arXiv:2307.04964, §5.1; OpenRLHF, commit 3c3be623; verl, commit b178a3cd.
    """

    factor: float = hyper(default=3.0, above=0, search=(0.1, 10.0), log=True)
    neutral = {"factor": 1.0}

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        return replace(optimisation, critic_rate=self.factor * optimisation.critic_rate)
