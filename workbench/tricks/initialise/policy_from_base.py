"""Policy model initialisation from the pre-trained model, without SFT."""

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise


class PolicyFromBase(Initialise):
    """Start the policy from the pre-trained model, skipping supervised fine-tuning.

        π_θ ← π_base

    Variant: the reference policy stays the SFT model, so the KL penalty pulls towards it.
    Source: detail 9 of arXiv:2307.04964, §5.3.3 and Figure 8, where it fails.
    """

    group = "policy_start"

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        models.policy.load_weights(prepared.base)
