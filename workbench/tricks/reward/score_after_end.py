"""The score one step behind the end token."""

import torch
from torch import Tensor

from workbench.maths import at_last_token
from workbench.trick import RewardTransform, hyper
from workbench.types import Rollout


class ScoreAfterEnd(RewardTransform):
    """Give the score one step behind the end token, so that GAE passes it through one more value.

        δ_T = γ V_end − V_T          δ_end = s − V_end          hence r̃_T = γ (λ s + (1 − λ) V_end)

    Variant: the same advantages with a reward on the last token alone; λ and γ have to be those of
    `gae`. s is the reward that the last token holds before any penalty, which is charged afterwards. A
    response cut at the cap has no step behind it and keeps its score, as in TRL; one that ends right at
    the cap has one here, but not in TRL and N+, whose tensors end there. trlX puts the score two steps
    behind, and does not train the value there; N+ and TRL do: add `value_after_end`. With
    `token_reward_whitening` V_end is whitened along, where TRL whitens s alone.
    Source: TRL ppo_trainer.py, commit f2cd5771; N+ details ppo.py, commit ee77a9ab.
    """

    requires = ("gae",)
    needs = frozenset({"end_value"})
    matches = {"trace": ("gae.trace",), "discount": ("gae.discount",)}
    trace: float = hyper(default=0.95, at_least=0, at_most=1)
    discount: float = hyper(default=1.0, at_least=0, at_most=1)
    neutral = {"trace": 1.0, "discount": 1.0}

    def __call__(self, reward: Tensor, rollout: Rollout) -> Tensor:
        ended = at_last_token((~rollout.is_truncated).to(reward.dtype), rollout.mask)
        passed = self.trace * reward + (1 - self.trace) * rollout.end_value[:, None]
        return torch.where(ended > 0, self.discount * passed, reward)
