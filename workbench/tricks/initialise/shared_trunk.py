"""One trunk for policy and critic."""

from workbench.models import Models
from workbench.stages.prepare import Prepared
from workbench.trick import Initialise


class SharedTrunk(Initialise):
    """Let the critic read the policy's own trunk, with a head of its own.

        V(s_t) = w · h_θ(s_t)          h_θ: the policy's last hidden state

    Variant: the critic's loss moves the policy's trunk, at the policy's learning rate, so weights on the
    value loss matter as they do not with two networks. The head starts as the critic_start trick
    left it. lm-human-preferences and trlX share the trunk; MOSS-RLHF, TRL, RL4LMs, OpenRLHF, verl,
    DeepSpeed-Chat and N+ do not. trlX can give the critic its own copy of the top blocks instead.
    Source: lm-human-preferences, commit cbfd210b; trlX modeling_ppo.py, commit 3340c2f3.
    """

    after = ("policy_start", "critic_start")
    is_of_critic = True

    def __call__(self, models: Models, prepared: Prepared, seed: int) -> None:
        critic, policy = models.critic.model, models.policy.model
        width, needed = models.policy.config.hidden_size, models.critic.config.hidden_size
        if width != needed:
            raise ValueError(
                f"shared_trunk needs a critic as wide as the policy, {width}, got {needed};"
                " start the critic from the SFT model"
            )
        setattr(critic, critic.base_model_prefix, policy.base_model)
