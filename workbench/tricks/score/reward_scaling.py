"""Reward scaling, as the released code of the paper has it: by the running std of scores."""

from torch import Tensor

from workbench.maths import RunningMoments
from workbench.trick import ScoreTransform, hyper, state
from workbench.types import Rollout


class RewardScaling(ScoreTransform):
    """Divide each score by the running standard deviation of all scores so far.

        r̃ = r / (σ + ε)

    Variant: σ is unbiased, over every score of this run, this rollout's included, and 1 until two
    different ones have come; the mean is not removed. The paper's text divides by the deviation of a
    rolling discounted sum instead: that is `return_scaling`.
    Source: MOSS-RLHF ppo_trainer.py, commit 4865d826; detail 4 of arXiv:2307.04964, §5.3.1.
    """

    group = "reward_normaliser"
    epsilon: float = hyper(default=1e-8, at_least=0)
    moments: RunningMoments = state(RunningMoments)

    def observe(self, rollout: Rollout) -> None:
        self.moments.update(rollout.score)

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score / (self.moments.std + self.epsilon).to(score.dtype)
