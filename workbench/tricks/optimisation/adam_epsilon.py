"""Adam's ε of policy and critic."""

from dataclasses import replace

from workbench.trick import OptimisationTransform, hyper
from workbench.types import Optimisation


class AdamEpsilon(OptimisationTransform):
    """Set the ε that Adam adds to the root of the second moment.

        θ ← θ − lr · m̂ / (√v̂ + ε)

    Variant: one ε each for policy and critic. lm-human-preferences, its reproductions and the 37 details
    take 1e-5 for both, MOSS-RLHF 1e-6 for the policy and 1e-8 for the critic; TRL, trlX, OpenRLHF,
    RL4LMs and verl leave 1e-8, the textbook.
    Source: lm-human-preferences, commit cbfd210b; 37 details, fbef824e; arXiv:1412.6980.
    """

    policy: float = hyper(default=1e-5, above=0, search=(1e-8, 1e-3), log=True)
    critic: float = hyper(default=1e-5, above=0, search=(1e-8, 1e-3), log=True)
    neutral = {"policy": 1e-8, "critic": 1e-8}

    def __call__(self, optimisation: Optimisation, buffer_size: int) -> Optimisation:
        return replace(optimisation, policy_epsilon=self.policy, critic_epsilon=self.critic)
