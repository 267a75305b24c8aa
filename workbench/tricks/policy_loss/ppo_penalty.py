"""PPO with a KL penalty in place of the clip."""

from torch import Tensor

from workbench.maths import kl_estimate
from workbench.trick import PolicyLoss, hyper
from workbench.types import Evaluation, Rollout


class PpoPenalty(PolicyLoss):
    """Charge the policy for moving away from the one that sampled.

        L_t = −ρ_t Â_t + β (ρ_t − 1 − ℓ_t)

    Variant: β is fixed, where the paper also adapts it; its KL(π_old ‖ π) is over all actions, ours is
    k3 of the sampled token, unbiased as tokens are samples of π_old. The paper tries 0.3 to 10.
    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 8; arXiv:2307.04964, eq. 14.
    """

    weight: float = hyper(default=3.0, at_least=0, search=(0.1, 10.0), log=True)
    neutral = {"weight": 0.0}

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        return self.weight * kl_estimate(-log_ratio, "k3") - advantage * log_ratio.exp()
