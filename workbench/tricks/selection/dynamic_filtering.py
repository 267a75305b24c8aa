"""Groups whose responses all score the same, dropped."""

from torch import Tensor

from workbench.maths import group_max
from workbench.trick import Selection, hyper
from workbench.types import Rollout


class DynamicFiltering(Selection):
    """Keep the responses to a prompt if their scores differ.

        keep_i = max_g score − min_g score > τ

    Variant: τ = 0 keeps the groups with a non-zero advantage, as DAPO, where scores are 0 and 1. By the
    range, as rounding can leave the standard deviation of equal scores, verl's test, above 0. Dropped
    groups are not replaced by new prompts, as they are in DAPO and OpenRLHF, so fewer responses are
    learnt from. With G = 1 no group has a range and all are kept, as in verl.
    Source: DAPO, arXiv:2503.14476, §3.2; verl `filter_groups`, off unless asked for, at commit b178a3cd.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True
    threshold: float = hyper(default=0.0, at_least=0)

    def __call__(self, rollout: Rollout) -> Tensor:
        score, group = rollout.score, rollout.group
        return group_max(score, group) + group_max(-score, group) > self.threshold
