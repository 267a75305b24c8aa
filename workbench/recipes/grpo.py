"""GRPO, group relative policy optimisation."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.grpo import Grpo
from workbench.tricks.aggregation.sequence_mean import SequenceMean
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.regulariser.kl_loss import KlLoss
from workbench.tricks.sampling.responses_per_prompt import ResponsesPerPrompt

GRPO = Recipe.cited(
    "grpo",
    "Group relative policy optimisation with outcome rewards, arXiv:2402.03300, §4. No critic. The"
    " paper averages the KL within each response like the rest of the loss; here it is a mean over"
    " tokens. Its process rewards and its iterated reward model are left out.",
    (
        ResponsesPerPrompt(count=8),
        "arXiv:2402.03300, §4.2: 64 of a batch of 1,024; 8 of 128 ask as many prompts, 16",
    ),
    (Grpo(epsilon=1e-6), "arXiv:2402.03300, §4.1.2; ε is verl b178a3cd's, the paper has none"),
    (
        ClippedSurrogate(clip_range=0.2),
        "arXiv:2402.03300, eq. 3; it leaves ε open: 0.2 is verl b178a3cd's and TRL f2cd5771's",
    ),
    (SequenceMean(), "arXiv:2402.03300, eq. 3: 1/|o_i| within a response, then 1/G"),
    (KlLoss(weight=0.04, estimator="k3"), "arXiv:2402.03300, eq. 4 and §4.2: coefficient 0.04"),
    (PpoEpochs(epochs=1), "arXiv:2402.03300, §4.2: a single update after each exploration"),
    (Minibatches(count=1), "arXiv:2402.03300, §4.2: a single update after each exploration"),
)
"""The paper's GRPO with outcome rewards."""
