"""Responses of too few tokens, dropped."""

from torch import Tensor

from workbench.trick import Selection, hyper
from workbench.types import Rollout


class DropShort(Selection):
    """Keep the responses of at least so many tokens.

        keep_i = |y_i| ≥ n

    Variant: counts up to the first end token, itself included. DeepSpeed-Chat drops answers of one token
    or none, and where none is left takes the last batch again; here all are then kept.
    Source: DeepSpeed-Chat ppo_trainer.py at commit 83757d9c.
    """

    min_tokens: int = hyper(default=2, at_least=1)
    neutral = {"min_tokens": 1}

    def __call__(self, rollout: Rollout) -> Tensor:
        return rollout.text_length >= self.min_tokens
