"""Every response counts by the sum of its tokens."""

from torch import Tensor

from workbench.maths import response_sum
from workbench.trick import Aggregation


class SequenceSum(Aggregation):
    """Sum the loss over each response's tokens, then average over responses.

        L = 1/B Σ_b Σ_t m_bt L_bt

    Variant: seq-mean-token-sum in verl's terms; the policy gradient of a whole response, whose size
    grows with length. An empty response counts as 0.
    Source: verl core_algos.py, commit b178a3cd; Liu et al. 2025, arXiv:2503.20783.
    """

    batch_statistic = True

    def __call__(self, loss: Tensor, mask: Tensor) -> Tensor:
        return response_sum(loss, mask).mean()
