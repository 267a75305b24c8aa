"""The registry: adding a trick is its file and one line here."""

from functools import cache
from importlib import import_module

from workbench.trick import Trick

TRICKS = (
    "initialise.policy_from_sft",
    "initialise.policy_from_base",
    "initialise.critic_from_sft",
    "initialise.critic_from_reward_model",
    "sampling.experience_buffer",
    "score.reward_scaling",
    "score.reward_norm",
    "score.reward_clip",
    "reward.token_kl_penalty",
    "reward.return_scaling",
    "advantage_estimator.gae",
    "advantage_estimator.monte_carlo",
    "advantage.advantage_norm",
    "advantage.advantage_clip",
    "policy_loss.unclipped_surrogate",
    "policy_loss.clipped_surrogate",
    "policy_loss.reference_ratio",
    "policy_loss.policy_gradient",
    "value_loss.value_mse",
    "value_loss.value_clip",
    "aggregation.token_mean",
    "aggregation.sequence_mean",
    "regulariser.entropy_bonus",
    "regulariser.entropy_clip",
    "regulariser.ppo_ptx",
    "gradient.global_gradient_clip",
    "schedule.critic_pretraining",
    "schedule.learning_rate_warmup",
)
"""`slot.name` of every trick; the class in the file is the name in CamelCase."""

TEXTBOOK = (
    "policy_from_sft",
    "critic_from_sft",
    "gae",
    "clipped_surrogate",
    "value_mse",
    "token_mean",
)
"""The textbook's member of every group that cannot be empty."""


@cache
def registry() -> dict[str, type[Trick]]:
    """Return every trick's class by name, in the order of the PPO update.

    Raises:
        ValueError: if two tricks share a name.
    """
    kinds: dict[str, type[Trick]] = {}
    for path in TRICKS:
        name = path.rpartition(".")[2]
        if name in kinds:
            raise ValueError(f"two tricks are called {name}")
        class_name = "".join(word.capitalize() for word in name.split("_"))
        kinds[name] = getattr(import_module(f"workbench.tricks.{path}"), class_name)
    return kinds
