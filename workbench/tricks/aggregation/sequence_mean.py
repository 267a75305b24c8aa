"""Every response counts the same."""

from torch import Tensor

from workbench.maths import response_mean
from workbench.trick import Aggregation


class SequenceMean(Aggregation):
    """Average the loss over each response's tokens, then over responses.

        L = 1/B Σ_b (Σ_t m_bt L_bt / Σ_t m_bt)

    Variant: seq-mean-token-mean in verl's terms; an empty response counts as 0.
    Source: verl core_algos.py, commit b178a3cd; Shao et al. 2024, arXiv:2402.03300.
    """

    batch_statistic = True

    def __call__(self, loss: Tensor, mask: Tensor) -> Tensor:
        return response_mean(loss, mask).mean()
