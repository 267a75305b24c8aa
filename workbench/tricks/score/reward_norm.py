"""Reward normalisation by the running mean and standard deviation of scores."""

from torch import Tensor

from workbench.maths import RunningMoments
from workbench.trick import ScoreTransform, hyper, state
from workbench.types import Rollout


class RewardNorm(ScoreTransform):
    """Subtract the running mean of all scores so far and divide by their standard deviation.

        r̃ = (r − μ) / (σ + ε)

    Variant: σ is unbiased, over every score of this run, this rollout's included, and 1 until two
    different ones have come. The paper clips the result: add `reward_clip`.
    Source: detail 5 of arXiv:2307.04964, §5.3.1 ("historical mean and variance").
    """

    group = "reward_normaliser"
    epsilon: float = hyper(default=1e-8, at_least=0)
    moments: RunningMoments = state(RunningMoments)

    def observe(self, rollout: Rollout) -> None:
        self.moments.update(rollout.score)

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        mean, std = self.moments.mean, self.moments.std + self.epsilon
        return (score - mean.to(score.dtype)) / std.to(score.dtype)
