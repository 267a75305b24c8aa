"""NLPO's refresh of the guide behind its mask."""

from workbench.maths import move_towards
from workbench.models import Models
from workbench.trick import WeightSync, hyper


class NlpoMaskRefresh(WeightSync):
    """Copy the policy to the guide of `nlpo_mask` every so many iterations.

        π_guide ← π          after iterations K, 2K, …

    Variant: as the paper has it. RL4LMs sets K from 5 to 100 (1000 where nothing is said), but its
    refresh rebinds an attribute of the policy while the logits processor keeps the model it was made
    with, so the mask that draws is never refreshed; leave this trick out for what that code does.
    Source: Ramamurthy et al. 2023, arXiv:2210.01241, algorithm 1; RL4LMs, commit 97df0bd2.
    """

    every: int = hyper(default=5, at_least=1, search=(1, 100), log=True)
    requires = ("nlpo_mask",)
    needs = frozenset({"guide"})

    def __call__(self, models: Models, iteration: int) -> None:
        assert models.guide is not None, "made for the tricks that need it"
        if (iteration + 1) % self.every == 0:
            move_towards(models.guide.parameters(), models.policy.parameters(), 1.0)
