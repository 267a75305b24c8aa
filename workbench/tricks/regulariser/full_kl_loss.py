"""KL to the reference policy over the vocabulary, in the loss."""

from torch import Tensor

from workbench.maths import masked_mean
from workbench.trick import Regulariser, hyper
from workbench.types import Evaluation, Rollout


class FullKlLoss(Regulariser):
    """Add the KL divergence from the reference policy, summed over the vocabulary.

        L = β · mean_t Σ_v π(v|s_t) (log π(v|s_t) − log π_ref(v|s_t))

    Variant: exact at every state, so no estimator; states are those that π_old reached. Mean over
    response tokens of the minibatch. verl lists it as "full" and raises NotImplementedError.
    Source: verl core_algos.py, commit b178a3cd, which names it; the sum that Schulman 2020 estimates.
    """

    group = "kl_loss"
    needs = frozenset({"ref_kl"})
    weight: float = hyper(default=0.001, at_least=0, search=(1e-4, 1.0), log=True)
    neutral = {"weight": 0.0}

    def __call__(self, new: Evaluation, minibatch: Rollout) -> Tensor:
        return self.weight * masked_mean(new.ref_kl, minibatch.mask)
