"""The score of a greedy response as a baseline: ReMax."""

from torch import Tensor

from workbench.trick import RewardFunction
from workbench.types import Rollout


class GreedyBaseline(RewardFunction):
    """Subtract the score of the policy's greedy response to the prompt.

        r̃ = r − r(x, y_greedy)

    Variant: unbiased, as the baseline depends on the prompt and the policy alone; costs one more
    response for every one. The greedy one is of π itself, before any logits trick. ReMax is this with
    the estimator `reinforce` and no critic. Subtracted after the penalties on length and missing ends,
    which the greedy response does not pay. verl subtracts it from the reward-to-go instead: the same
    without a discount.
    Source: Li et al. 2024, arXiv:2310.10505; verl core_algos.py, commit b178a3cd.
    """

    group = "score_baseline"
    after = ("length_penalty", "overlong_penalty", "missing_eos")
    needs = frozenset({"greedy_score"})

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score - rollout.greedy_score
