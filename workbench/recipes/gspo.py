"""GSPO, group sequence policy optimisation."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.grpo import Grpo
from workbench.tricks.aggregation.sequence_mean import SequenceMean
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clip_higher import ClipHigher
from workbench.tricks.ratio.sequence_ratio import SequenceRatio
from workbench.tricks.sampling.responses_per_prompt import ResponsesPerPrompt

GSPO = Recipe.cited(
    "gspo",
    "Group sequence policy optimisation, arXiv:2507.18071: one length-normalised ratio per response,"
    " clipped in a range that is narrow for that reason. No critic; the paper leaves its KL term out of"
    " its equations, and so does this.",
    (
        ResponsesPerPrompt(count=8),
        "arXiv:2507.18071, eq. 5 leaves G open; 8 is the default of TRL f2cd5771's GRPO",
    ),
    (Grpo(epsilon=1e-6), "arXiv:2507.18071, eq. 6; ε is verl b178a3cd's, the paper has none"),
    (SequenceRatio(), "arXiv:2507.18071, eq. 7: (π(y) / π_old(y))^(1/|y|)"),
    (
        ClipHigher(clip_range_low=3e-4, clip_range_high=4e-4),
        "arXiv:2507.18071, §5.1: 3e-4 to the left, 4e-4 to the right",
    ),
    (SequenceMean(), "arXiv:2507.18071, eq. 5: 1/G over responses"),
    (PpoEpochs(epochs=1), "arXiv:2507.18071, §5.1: each rollout batch is gone over once"),
    (Minibatches(count=4), "arXiv:2507.18071, §5.1: four minibatches per rollout batch"),
)
"""GRPO's advantages with one ratio per response."""
