"""trlX's PPO with its defaults."""

from workbench.recipe import Recipe
from workbench.tricks.advantage.padded_advantage_norm import PaddedAdvantageNorm
from workbench.tricks.advantage_estimator.gae import Gae
from workbench.tricks.initialise.critic_from_sft import CriticFromSft
from workbench.tricks.initialise.layer_freezing import LayerFreezing
from workbench.tricks.initialise.shared_trunk import SharedTrunk
from workbench.tricks.initialise.value_head_mlp import ValueHeadMlp
from workbench.tricks.optimisation.adam_betas import AdamBetas
from workbench.tricks.optimisation.critic_learning_rate import CriticLearningRate
from workbench.tricks.optimisation.minibatches import Minibatches
from workbench.tricks.optimisation.ppo_epochs import PpoEpochs
from workbench.tricks.optimisation.weight_decay import WeightDecay
from workbench.tricks.policy_loss.clipped_surrogate import ClippedSurrogate
from workbench.tricks.reward.score_after_end import ScoreAfterEnd
from workbench.tricks.reward.token_kl_penalty import TokenKlPenalty
from workbench.tricks.reward_function.raw_reward_clip import RawRewardClip
from workbench.tricks.value_loss.value_clip import ValueClip

TRLX = Recipe.cited(
    "trlx",
    "default_ppo_config of trlX 3340c2f3, with its Accelerate trainer. Its whitening counts padding,"
    " as here. The score stands two steps behind the end there and one step here; the value there is"
    " not fitted in either. Responses are not decoded and encoded again, the KL is not charged on"
    " padding, and its constant cosine schedule is no schedule. It clips gradients by a DeepSpeed file"
    " only.",
    (CriticFromSft(), "modeling_ppo.py, trlX 3340c2f3: the critic is a head on the policy"),
    (SharedTrunk(), "default_configs.py, trlX 3340c2f3: num_value_layers_unfrozen 0"),
    (ValueHeadMlp(), "utils/modeling.py make_head, trlX 3340c2f3: two layers"),
    (
        LayerFreezing(blocks=2),
        "default_configs.py, trlX 3340c2f3: num_layers_unfrozen 2;"
        " it freezes nothing of a policy of two blocks, as the embedded one",
    ),
    (RawRewardClip(max_abs=10.0), "default_configs.py, trlX 3340c2f3: cliprange_reward 10, unscaled"),
    (TokenKlPenalty(weight=0.001), "default_configs.py, trlX 3340c2f3: init_kl_coef 0.001, no target"),
    (
        ScoreAfterEnd(trace=0.95, discount=1.0),
        "accelerate_ppo_trainer.py, trlX 3340c2f3: behind the end token; two steps there",
    ),
    (Gae(trace=0.95, discount=1.0), "default_configs.py, trlX 3340c2f3: lam 0.95, gamma 1"),
    (PaddedAdvantageNorm(epsilon=1e-8), "utils/modeling.py whiten, trlX 3340c2f3: no mask"),
    (ClippedSurrogate(clip_range=0.2), "default_configs.py, trlX 3340c2f3: cliprange 0.2"),
    (ValueClip(clip_range=0.2), "default_configs.py, trlX 3340c2f3: cliprange_value; vf_coef 1 on ½"),
    (PpoEpochs(epochs=4), "default_configs.py, trlX 3340c2f3: ppo_epochs 4"),
    (Minibatches(count=4), "default_configs.py, trlX 3340c2f3: batch_size 32 of num_rollouts 128"),
    (AdamBetas(first=0.9, second=0.95), "default_configs.py, trlX 3340c2f3: betas"),
    (WeightDecay(decay=1e-6), "default_configs.py, trlX 3340c2f3: weight_decay 1e-6"),
    (
        CriticLearningRate(factor=1 / 3),
        "default_configs.py, trlX 3340c2f3: one rate; a run's critic has 3 times the policy's",
    ),
)
"""The default configuration, bugs included."""
