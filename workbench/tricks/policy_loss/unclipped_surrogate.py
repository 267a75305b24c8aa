"""The importance-weighted surrogate without a clip."""

from torch import Tensor

from workbench.trick import PolicyLoss
from workbench.types import Evaluation, Rollout


class UnclippedSurrogate(PolicyLoss):
    """Weight advantages by the policy ratio, however far it has moved.

        L_t = −ρ_t Â_t          ρ_t = π(y_t) / π_old(y_t)

    Variant: per token; `clipped_surrogate` with an infinite range.
    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 6; "no clip" in arXiv:2307.04964, Figure 17.
    """

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        return -advantage * log_ratio.exp()
