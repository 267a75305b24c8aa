"""Policy model initialisation from the SFT model: the textbook."""

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise


class PolicyFromSft(Initialise):
    """Start the policy from the supervised fine-tuned model.

        π_θ ← π_SFT

    Variant: the reference policy is the SFT model too, and stays frozen.
    Source: Ouyang et al. 2022, arXiv:2203.02155; detail 9 of arXiv:2307.04964, Figure 5.
    """

    group = "policy_start"

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        models.policy.load_weights(prepared.sft)
