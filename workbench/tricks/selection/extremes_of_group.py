"""The best and the worst response to each prompt only."""

from torch import Tensor

from workbench.maths import group_max
from workbench.trick import Selection
from workbench.types import Rollout


class ExtremesOfGroup(Selection):
    """Keep the responses with the highest and the lowest score of their group.

        keep_i = score_i ∈ {max_g score, min_g score}

    Variant: of all pairs of a group it has the greatest variance, PODS's rule for two of G; all ties are
    kept. PODS's own number is larger and chosen by the variance. Advantages have been taken before, over
    the whole group. With G ≤ 2 nothing is dropped.
    Source: PODS, arXiv:2504.13818, max-variance down-sampling.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True

    def __call__(self, rollout: Rollout) -> Tensor:
        score, group = rollout.score, rollout.group
        return (score == group_max(score, group)) | (score == -group_max(-score, group))
