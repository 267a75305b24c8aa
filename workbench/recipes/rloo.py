"""RLOO: REINFORCE with a leave-one-out baseline, a response being one action."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.rloo import Rloo
from workbench.tricks.aggregation.sequence_mean import SequenceMean
from workbench.tricks.gradient.global_gradient_clip import GlobalGradientClip
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.ratio.summed_ratio import SummedRatio
from workbench.tricks.reward.sequence_kl_penalty import SequenceKlPenalty
from workbench.tricks.sampling.responses_per_prompt import ResponsesPerPrompt
from workbench.tricks.schedule.linear_decay import LinearDecay

RLOO = Recipe.cited(
    "rloo",
    "REINFORCE leave-one-out, arXiv:2402.14740, with the defaults of TRL f2cd5771's RLOOTrainer. No"
    " critic. The paper has neither ratio nor clip: at one step per rollout the ratio is 1, so the"
    " gradient is the same. TRL leaves the model's own dropout on, which is left out here.",
    (ResponsesPerPrompt(count=2), "RLOOConfig, TRL f2cd5771: num_generations 2; the paper has 2 and 4"),
    (SequenceKlPenalty(weight=0.05), "RLOOConfig, TRL f2cd5771: beta 0.05; arXiv:2402.14740, §2"),
    (Rloo(), "arXiv:2402.14740, §2: leave-one-out baseline of the whole reward, KL included"),
    (SummedRatio(), "rloo_trainer.py, TRL f2cd5771: log-ratios summed over the completion"),
    (ClippedSurrogate(clip_range=0.2), "RLOOConfig, TRL f2cd5771: epsilon 0.2"),
    (SequenceMean(), "arXiv:2402.14740, §3: the whole response is one action"),
    (PpoEpochs(epochs=1), "RLOOConfig, TRL f2cd5771: num_iterations 1"),
    (Minibatches(count=1), "RLOOConfig, TRL f2cd5771: one generation batch per optimiser step"),
    (GlobalGradientClip(max_norm=1.0), "TrainingArguments under RLOOConfig: max_grad_norm 1.0"),
    (LinearDecay(final=0.0), "TrainingArguments under RLOOConfig: linear to 0"),
)
"""The leave-one-out estimator with TRL's defaults."""
