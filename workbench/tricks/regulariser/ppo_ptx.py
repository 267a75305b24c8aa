"""PPO-ptx: pre-training gradients mixed into PPO."""

from torch import Tensor

from workbench.trick import Regulariser, hyper
from workbench.types import Evaluation, Rollout


class PpoPtx(Regulariser):
    """Add the language-model loss on pre-training data.

        L = λ · mean −log π(x), x from the pre-training data

    Variant: token mean over one pre-training sequence per response of the minibatch.
    Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 2; arXiv:2307.04964, §5.4 and Figure 12.
    """

    needs = frozenset({"pretraining_loss"})
    weight: float = hyper(default=0.1, at_least=0, search=(0.01, 3.0), log=True)
    neutral = {"weight": 0.0}

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        return self.weight * new.pretraining_loss
