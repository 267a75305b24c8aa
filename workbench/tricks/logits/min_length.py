"""A least length: no end token before it."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import LogitTransform, hyper
from workbench.types import Draft


class MinLength(LogitTransform):
    """Forbid the end token until the response has a least number of tokens.

        z_eos ← −∞ while t < n

    Variant: a response has n tokens before its end token. RL4LMs draws 48 (IMDB) or 50 (CNN/DailyMail);
    the others have none. Log-probabilities stay those of the full softmax, so the end token's share
    of it is a mismatch of drawing and training; RL4LMs' NLPO masks it in the ratio too.
    Source: RL4LMs, commit 97df0bd2, min_length of the generation settings; arXiv:2210.01241.
    """

    tokens: int = hyper(default=4, at_least=0, search=(1, 32), log=True)
    neutral = {"tokens": 0}

    def __call__(self, logits: Tensor, draft: Draft) -> Tensor:
        token = torch.arange(logits.shape[-1], device=logits.device)
        is_early = (draft.step < self.tokens)[:, None]
        return torch.where(is_early & (token == draft.eos), -inf, logits)
