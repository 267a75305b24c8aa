"""DeepSpeed-Chat's third step."""

from workbench.recipe import Recipe
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.gradient.separate_gradient_clip import SeparateGradientClip
from workbench.tricks.initialise.critic_from_reward_model import CriticFromRewardModel
from workbench.tricks.optimisation.adam_betas import AdamBetas
from workbench.tricks.optimisation.critic_learning_rate import CriticLearningRate
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.reward.score_after_end import ScoreAfterEnd
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.reward_function.raw_reward_clip import RawRewardClip
from workbench.tricks.schedule.cosine_decay import CosineDecay
from workbench.tricks.schedule.learning_rate_warmup import LearningRateWarmup
from workbench.tricks.selection.drop_short import DropShort
from workbench.tricks.value_loss.value_clip import ValueClip
from workbench.tricks.weight_sync.policy_ema import PolicyEma

DEEPSPEED_CHAT = Recipe.cited(
    "deepspeed_chat",
    "Step 3 of DeepSpeed-Chat 83757d9c. Advantages are not normalised, and one update per rollout"
    " leaves both clips idle. Its pre-training loss, weight 27.8, is on only where a data set is given:"
    " add `ppo_ptx`. Its README warns of more than one epoch and of that weight. With a padding token"
    " that is the end token, the step behind the end is the end token's own there, and not trained on;"
    " with another it charges that token for its KL too. Its moving average is still 45 % of the start"
    " after 100 iterations, and is what is evaluated.",
    (CriticFromRewardModel(), "main.py, DeepSpeed-Chat 83757d9c: critic_model_name_or_path, the RM"),
    (RawRewardClip(max_abs=5.0), "ppo_trainer.py, DeepSpeed-Chat 83757d9c: clip_reward_value 5"),
    (TokenKlPenalty(weight=0.1), "ppo_trainer.py, DeepSpeed-Chat 83757d9c: kl_ctl 0.1"),
    (
        ScoreAfterEnd(trace=0.95, discount=1.0),
        "ppo_trainer.py DeepSpeed-Chat 83757d9c: the last of |y| + 1 steps, which is not fitted",
    ),
    (Gae(trace=0.95, discount=1.0), "ppo_trainer.py, DeepSpeed-Chat 83757d9c: lam 0.95, gamma 1"),
    (DropShort(min_tokens=2), "ppo_trainer.py, DeepSpeed-Chat 83757d9c: answers of one token go"),
    (ClippedSurrogate(clip_range=0.2), "ppo_trainer.py, DeepSpeed-Chat 83757d9c: cliprange 0.2"),
    (ValueClip(clip_range=0.2), "ppo_trainer.py, DeepSpeed-Chat 83757d9c: cliprange_value 0.2"),
    (PpoEpochs(epochs=1), "main.py, DeepSpeed-Chat 83757d9c: ppo_epochs 1"),
    (Minibatches(count=1), "main.py, DeepSpeed-Chat 83757d9c: generation_batches 1, one update"),
    (SeparateGradientClip(max_norm=1.0), "main.py, DeepSpeed-Chat 83757d9c: 1.0 in each engine"),
    (AdamBetas(first=0.9, second=0.95), "main.py, DeepSpeed-Chat 83757d9c: betas"),
    (
        CriticLearningRate(factor=5e-6 / 9.65e-6 / 3),
        "main.py, DeepSpeed-Chat 83757d9c: 5e-6 to 9.65e-6; a run's critic has 3 times the policy's",
    ),
    (
        LearningRateWarmup(share=0.1),
        "training scripts, DeepSpeed-Chat 83757d9c: 100 steps whatever the length; a tenth here",
    ),
    (CosineDecay(final=0.0), "main.py, DeepSpeed-Chat 83757d9c: cosine to 0"),
    (PolicyEma(decay=0.992), "training scripts, DeepSpeed-Chat 83757d9c: --enable_ema, 0.992"),
)
"""The settings of its training scripts."""
