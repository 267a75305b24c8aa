"""Repetition penalty on the tokens of the response so far."""

import torch
from torch import Tensor

from workbench.trick import LogitTransform, hyper
from workbench.types import Draft


class RepetitionPenalty(LogitTransform):
    """Lower the logits of tokens that the response already holds.

        z_v ← z_v / θ if z_v > 0 else z_v·θ          for every v in y_<t

    Variant: over the response only, as MOSS-RLHF (1.1); CTRL and transformers count the prompt too. A
    token is penalised once however often it came. Multiplying commutes with the temperature, so it
    does not matter that MOSS-RLHF divides by it later. Log-probabilities stay those of the plain
    softmax: what was drawn from is `behaviour_log_prob`.
    Source: Keskar et al. 2019, arXiv:1909.05858, §4.1; MOSS-RLHF train_ppo.py, commit 4865d826.
    """

    penalty: float = hyper(default=1.1, at_least=1, search=(1.0, 1.5))
    neutral = {"penalty": 1.0}

    def __call__(self, logits: Tensor, draft: Draft) -> Tensor:
        beyond = logits.shape[-1]
        place = torch.where(draft.history < 0, beyond, draft.history)
        blank = torch.zeros_like(torch.nn.functional.pad(logits, (0, 1)))
        is_used = blank.scatter(-1, place, 1.0)[..., :beyond] > 0
        lowered = torch.where(logits > 0, logits / self.penalty, logits * self.penalty)
        return torch.where(is_used, lowered, logits)
