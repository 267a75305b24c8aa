"""DAPO: decoupled clip and dynamic sampling."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.grpo import Grpo
from workbench.tricks.aggregation.token_mean import TokenMean
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clip_higher import ClipHigher
from workbench.tricks.reward_function.overlong_penalty import OverlongPenalty
from workbench.tricks.sampling.responses_per_prompt import ResponsesPerPrompt
from workbench.tricks.selection.dynamic_filtering import DynamicFiltering

DAPO = Recipe.cited(
    "dapo",
    "DAPO, arXiv:2503.14476: GRPO without KL and with four changes. No critic. It resamples prompts"
    " whose responses are all right or all wrong; here these are dropped and not replaced, so updates"
    " get smaller, and a real-valued score, which hardly ever ties, drops none. The overlong penalty"
    " counts from the cap of 64 tokens that a run has by default: set `overlong_penalty` for another"
    " cap. Its warm-up over 20 rollouts and its rule-based ±1 reward are left to the run.",
    (ResponsesPerPrompt(count=16), "arXiv:2503.14476, §4.1: 16 responses to each of 512 prompts"),
    (
        OverlongPenalty(max_tokens=64, buffer=13, factor=1.0),
        "arXiv:2503.14476, eq. 13 and §4.1: 4,096 of 20,480 tokens, a fifth of the cap, as here",
    ),
    (Grpo(epsilon=1e-6), "arXiv:2503.14476, eq. 9; ε is verl b178a3cd's, the paper has none"),
    (
        DynamicFiltering(threshold=0.0),
        "arXiv:2503.14476, §3.2 and eq. 11; dropped, not resampled;"
        " by the final score, the overlong penalty included, where the paper asks for correctness",
    ),
    (
        ClipHigher(clip_range_low=0.2, clip_range_high=0.28),
        "arXiv:2503.14476, §3.1 and §4.1: ε_low 0.2, ε_high 0.28",
    ),
    (TokenMean(), "arXiv:2503.14476, §3.3: token-level loss"),
    (PpoEpochs(epochs=1), "arXiv:2503.14476, §4.1: each rollout is gone over once"),
    (Minibatches(count=16), "arXiv:2503.14476, §4.1: 16 gradient updates per rollout"),
)
"""GRPO with clip-higher, dynamic sampling, a token-level loss and overlong shaping."""
