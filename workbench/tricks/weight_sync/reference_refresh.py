"""A reference policy that follows the policy from time to time."""

from workbench.maths import move_towards
from workbench.models import Models
from workbench.trick import WeightSync, hyper


class ReferenceRefresh(WeightSync):
    """Move the reference policy towards the policy every so many iterations.

        π_ref ← α π + (1 − α) π_ref          after iterations K, 2K, …; of the weights

    Variant: every KL that a trick sees is then to a policy of the recent past, so the KL to the SFT
    policy, which the monitors go on measuring, is no longer held down. TRL's GRPO and RLOO offer it with
    α = 0.6 and K = 512 optimiser steps, off by default; here K counts iterations. TR-DPO calls α < 1
    the soft and α = 1 the hard update.
    Source: TRL SyncRefModelCallback, commit f2cd5771; Gorbatovski et al. 2024, arXiv:2404.09656.
    """

    share: float = hyper(default=0.6, above=0, at_most=1, search=(0.1, 1.0))
    every: int = hyper(default=16, at_least=1, search=(4, 64), log=True)
    needs = frozenset({"moving_reference"})

    def __call__(self, models: Models, iteration: int) -> None:
        if (iteration + 1) % self.every == 0:
            move_towards(models.reference.parameters(), models.policy.parameters(), self.share)
