"""A fixed score for responses without an end token: the EOS trick."""

import torch
from torch import Tensor

from workbench.trick import ScoreTransform, hyper
from workbench.types import Rollout


class MissingEosScore(ScoreTransform):
    """Replace the score of a response that reached the cap without an end token by a constant.

        r̃ = p₀ if no end token, else r

    Variant: on the scale of the normalised score, behind every normaliser and clip, as in both systems,
    whose reward models are normalised or centred beforehand; p₀ has to be low there. A negative
    coefficient of OpenRLHF's `stop_properly_penalty_coef` puts it on the raw scale, which is the same
    where nothing normalises. To subtract from the raw score instead: `missing_eos_penalty`.
    Source: OpenAI lm-human-preferences train_policy.py, commit cbfd210b; N+ details ppo.py, commit
    ee77a9ab; both with p₀ = −1.
    """

    group = "missing_eos"
    after = ("reward_normaliser", "reward_clip")
    score: float = hyper(default=-1.0, search=(-5.0, 1.0))

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return torch.where(rollout.is_truncated, self.score, score)
