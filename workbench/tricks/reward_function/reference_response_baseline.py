"""The score of the task's own response as a baseline."""

from torch import Tensor

from workbench.trick import RewardFunction
from workbench.types import Rollout


class ReferenceResponseBaseline(RewardFunction):
    """Subtract the score of the task's own response to the prompt.

        r̃ = r − r(x, y_ref)

    Variant: unbiased, as the baseline depends on the prompt alone. It is subtracted after the penalties
    on length and missing ends, which the task's own response does not pay.
    Source: trlX, commit 3340c2f3, examples/summarize_rlhf; Stiennon et al. 2020, arXiv:2009.01325.
    """

    group = "score_baseline"
    after = ("length_penalty", "overlong_penalty", "missing_eos")
    needs = frozenset({"reference_score"})

    def __call__(self, score: Tensor, rollout: Rollout) -> Tensor:
        return score - rollout.reference_score
