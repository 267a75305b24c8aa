"""A factor on the score of responses without an end token."""

import torch
from torch import Tensor

from workbench.trick import RewardFunction, hyper
from workbench.types import Rollout


class StopProperlyPenalty(RewardFunction):
    """Scale down the score of a response that reached the cap without an end token.

        r̃ = c r if no end token, else r          0 ≤ c ≤ 1

    Variant: made for scores of 0 or more; a negative score moves up to c r, so that cutting a bad
    response pays. For c < 0 OpenRLHF puts c in the place of the score: that is `missing_eos_score`.
    OpenRLHF's default is off.
    Source: OpenRLHF length_penalty.py, commit 3c3be623 (`stop_properly_penalty_coef`).
    """

    group = "missing_eos"
    after = ("length_penalty", "overlong_penalty")
    coefficient: float = hyper(default=0.0, at_least=0, at_most=1, search=(0.0, 1.0))
    neutral = {"coefficient": 1.0}

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return torch.where(rollout.is_truncated, self.coefficient * score, score)
