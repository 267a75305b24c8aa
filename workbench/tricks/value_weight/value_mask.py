"""The states that the critic is fitted on."""

import torch
from torch import Tensor

from workbench.trick import ValueWeight, hyper
from workbench.types import Rollout


class ValueMask(ValueWeight):
    """Fit the critic only on the states of the text, where sampling goes on behind its end token.

        w_t = [t < |y|]          or [t ≤ |y|] with the state behind the end token

    Variant: only where sampling goes on, as otherwise the mask ends with the text. TRL and N+ fit the
    text's states and the one behind ("text_and_end", which `value_after_end` needs to have an effect);
    "text" leaves that out; OpenAI's code and the N details fit all states of fixed-length responses, as
    without this trick. Counts in the aggregation stay those of the mask.
    Source: TRL ppo_trainer.py, commit f2cd5771 (`padding_mask_p1`); OpenAI lm-human-preferences
    train_policy.py, commit cbfd210b.
    """

    requires = ("fixed_length",)
    scope: str = hyper(default="text_and_end", choices=("text", "text_and_end"))

    def __call__(self, minibatch: Rollout) -> Tensor:
        step = torch.arange(minibatch.mask.shape[1], device=minibatch.mask.device)
        last = minibatch.text_length[:, None] - {"text": 1, "text_and_end": 0}[self.scope]
        return (minibatch.mask & (step <= last)).to(minibatch.value.dtype)
