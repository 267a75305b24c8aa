"""A penalty on responses without an end token, subtracted."""

import torch
from torch import Tensor

from workbench.trick import RewardFunction, hyper
from workbench.types import Rollout


class MissingEosPenalty(RewardFunction):
    """Subtract a constant from the score of a response that reached the cap without an end token.

        r̃ = r − p [no end token]

    Variant: subtracts, so that among cut responses the better one still scores more; p is in units of
    the score. To replace the score instead: `missing_eos_score`. TRL's default is off; its example
    scripts use 1.
    Source: TRL ppo_trainer.py, commit f2cd5771 (`missing_eos_penalty`).
    """

    group = "missing_eos"
    after = ("length_penalty", "overlong_penalty")
    penalty: float = hyper(default=1.0, at_least=0, search=(0.1, 10.0), log=True)
    neutral = {"penalty": 0.0}

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return torch.where(rollout.is_truncated, score - self.penalty, score)
