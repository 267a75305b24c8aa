"""Top-k sampling."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import LogitTransform, hyper
from workbench.types import Draft


class TopK(LogitTransform):
    """Draw from the k most likely tokens only.

        z_v ← −∞ where z_v < the k-th largest logit

    Variant: tokens tied with the k-th are kept, as in lm-human-preferences and transformers; k = 0, or
    one beyond the vocabulary, keeps all. RL4LMs draws with k from 10 to 200 by task; TRL, trlX and
    lm-human-preferences with 0. Log-probabilities, hence ratio and KL, stay those of the full softmax:
    what was drawn from is `behaviour_log_prob`.
    Source: Fan et al. 2018, arXiv:1805.04833; take_top_k_logits of lm-human-preferences, cbfd210b.
    """

    k: int = hyper(default=50, at_least=0, search=(5, 200), log=True)
    after = ("nlpo_mask", "repetition_penalty", "min_length")
    neutral = {"k": 0}

    def __call__(self, logits: Tensor, draft: Draft) -> Tensor:
        vocabulary = logits.shape[-1]
        kept = min(self.k or vocabulary, vocabulary)
        least = logits.topk(kept, dim=-1).values[..., -1:]
        return torch.where(logits < least, -inf, logits)
