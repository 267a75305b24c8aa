"""The plain policy gradient, without importance sampling."""

from torch import Tensor

from workbench.trick import PolicyLoss
from workbench.types import Evaluation, Rollout


class PolicyGradient(PolicyLoss):
    """Weight log-probabilities by advantages, as if every sample came from the current policy.

        L_t = −Â_t log π(y_t)

    Variant: importance sampling off in its literal sense; its gradient equals that of
    `unclipped_surrogate` at the first optimiser step of a rollout, and differs afterwards. There is no
    ratio, so the tricks of slot `ratio` change nothing.
    Source: Williams 1992, REINFORCE; detail 2 of arXiv:2307.04964.
    """

    def __call__(
        self, log_ratio: Tensor, new: Evaluation, minibatch: Rollout, advantage: Tensor
    ) -> Tensor:
        return -advantage * new.log_prob
