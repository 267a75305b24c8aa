"""Critic pre-training: the policy waits until the critic has learnt."""

from workbench.trick import Schedule, hyper
from workbench.types import Rates


class CriticPretraining(Schedule):
    """Train the critic alone for the first iterations.

        policy factor = [k ≥ N], critic factor = 1          k = iteration

    Variant: on the PPO clock: the policy samples as ever and its weights and optimiser state are left
    alone. The paper stops when the value loss is near 0; here N is fixed, so arms stay paired.
    Source: arXiv:2307.04964, §5.3.3 and Figure 8; freezing_steps of OpenRLHF, 3c3be623.
    """

    requires_critic = True
    iterations: int = hyper(default=8, at_least=0, search=(1, 32), log=True)
    neutral = {"iterations": 0}

    def __call__(self, iteration: int, iterations: int) -> Rates:
        return Rates(policy=float(iteration >= self.iterations), critic=1.0)
