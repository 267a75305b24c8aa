"""Reward clipping."""

from math import inf

from torch import Tensor

from workbench.trick import ScoreTransform, hyper
from workbench.types import Rollout


class RewardClip(ScoreTransform):
    """Clip each score to a symmetric interval.

        r̃ = clip(r, −δ, δ)

    Variant: after any normalisation or scaling, as MOSS-RLHF; to clip before, as trlX:
    `raw_reward_clip`.
    Source: detail 5 of arXiv:2307.04964, §5.3.1, with δ = 0.3 and 0.8.
    """

    after = ("reward_normaliser",)
    max_abs: float = hyper(default=5.0, above=0, search=(0.1, 10.0), log=True)
    neutral = {"max_abs": inf}

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score.clamp(-self.max_abs, self.max_abs)
