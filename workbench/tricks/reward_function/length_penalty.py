"""A penalty on the length of a response."""

from torch import Tensor

from workbench.trick import RewardFunction, hyper
from workbench.types import Rollout


class LengthPenalty(RewardFunction):
    """Charge every token of the response the same.

        r̃ = r − α |y|

    Variant: linear, without a target; |y| counts the text up to its end token. Singhal et al. add
    (1 − |y|/N) σ with σ a moving average of the scores' deviation: that is α = σ/N up to a constant,
    with α moving. Here α is fixed, in units of the score per token.
    Source: the length penalty of Singhal et al. 2023, arXiv:2310.03716.
    """

    weight: float = hyper(default=0.01, at_least=0, search=(0.001, 0.1), log=True)
    neutral = {"weight": 0.0}

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score - self.weight * rollout.text_length.to(score.dtype)
