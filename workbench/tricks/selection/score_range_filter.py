"""Groups too easy or too hard, dropped."""

from math import inf

from torch import Tensor

from workbench.maths import group_mean
from workbench.trick import Selection, hyper
from workbench.types import Rollout


class ScoreRangeFilter(Selection):
    """Keep the responses to a prompt if their mean score lies inside a range.

        keep_i = low < μ_g(score) < high

    Variant: strict on both sides; (0, 1) is meant for scores of 0 and 1, a reward model's need their own
    range. Of the final score, after the tricks on it. Dropped groups are not replaced by new prompts, as
    OpenRLHF does until the batch is full. With G = 1 the mean is the score; OpenRLHF asserts G > 1.
    Source: OpenRLHF samples_generator.py at commit 3c3be623, `dynamic_filtering_range`; off by default.
    """

    batch_statistic = True
    low: float = hyper(default=0.0)
    high: float = hyper(default=1.0)
    neutral = {"low": -inf, "high": inf}

    def __call__(self, rollout: Rollout) -> Tensor:
        mean = group_mean(rollout.score, rollout.group)
        return (mean > self.low) & (mean < self.high)
