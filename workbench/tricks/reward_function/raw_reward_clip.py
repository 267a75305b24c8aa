"""Clipping of the raw score."""

from math import inf

from torch import Tensor

from workbench.trick import RewardFunction, hyper
from workbench.types import Rollout


class RawRewardClip(RewardFunction):
    """Clip each raw score to a symmetric interval.

        r̃ = clip(r, −δ, δ)

    Variant: before any statistics, so that they are of clipped scores, as trlX with Accelerate (δ = 10)
    and DeepSpeed-Chat (δ = 5); after penalties and baselines. To clip after normalisation, as MOSS-RLHF
    and trlX with NeMo: `reward_clip`.
    Source: trlX accelerate_ppo_trainer.py, commit 3340c2f3; DeepSpeed-Chat ppo_trainer.py, commit
    83757d9c.
    """

    after = ("length_penalty", "overlong_penalty", "missing_eos", "score_baseline")
    max_abs: float = hyper(default=5.0, above=0, search=(0.1, 10.0), log=True)
    neutral = {"max_abs": inf}

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score.clamp(-self.max_abs, self.max_abs)
