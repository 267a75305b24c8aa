"""An exponential moving average of the policy's weights."""

from workbench.maths import move_towards
from workbench.models import Models
from workbench.trick import WeightSync, hyper


class PolicyEma(WeightSync):
    """Average the policy's weights over the iterations; held-out prompts are answered by the average.

        θ_avg ← β θ_avg + (1 − β) θ          after every iteration

    Variant: starts at the policy's start, without bias correction. The policy that samples and learns is
    left alone. OpenRLHF and DeepSpeed-Chat have β = 0.992, once per training step; on by default in
    neither, though DeepSpeed-Chat's own script has it on. Here the clock is the iteration: after K of
    them the start still weighs β^K, 0.30 at K = 150.
    Source: DeepSpeed-Chat, commit 83757d9c; OpenRLHF, 3c3be623; arXiv:2203.02155, appendix C.
    """

    decay: float = hyper(default=0.992, at_least=0, at_most=0.9999, search=(0.9, 0.999))
    needs = frozenset({"average"})

    def __call__(self, models: Models, iteration: int) -> None:
        assert models.average is not None, "made for the tricks that need it"
        move_towards(models.average.parameters(), models.policy.parameters(), 1 - self.decay)
