"""The best responses to each prompt only."""

from torch import Tensor

from workbench.trick import Selection, hyper
from workbench.types import Rollout


class BestOfGroup(Selection):
    """Keep the responses with the highest scores of their group.

        keep_i = #{j: score_j > score_i in i's group} < k

    Variant: k = 1 is RAFT's best of G. Responses equal to the last one kept are kept too, so ties do not
    depend on the order. RAFT fine-tunes on what is kept; here only the rows are chosen and the recipe's
    loss stays. A baseline of the group's mean makes all kept advantages positive.
    Source: RAFT, Dong et al. 2023, arXiv:2304.06767.
    """

    requires = ("responses_per_prompt",)
    batch_statistic = True
    kept: int = hyper(default=1, at_least=1)

    def __call__(self, rollout: Rollout) -> Tensor:
        score, group = rollout.score, rollout.group
        better = (group[:, None] == group[None, :]) & (score[None, :] > score[:, None])
        return better.sum(1) < self.kept
