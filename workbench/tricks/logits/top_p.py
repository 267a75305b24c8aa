"""Top-p (nucleus) sampling."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import LogitTransform, hyper
from workbench.types import Draft


class TopP(LogitTransform):
    """Draw from the smallest set of tokens that holds a share p of the probability.

        z_v ← −∞ where Σ{π_u : u at least as likely as v, v left out} ≥ p

    Variant: the set reaches p, as in MOSS-RLHF and transformers, and holds the likeliest token at least;
    lm-human-preferences keeps the largest set within p, most often one token fewer. MOSS-RLHF draws
    with 0.9, all others with 1. Log-probabilities, hence ratio and KL, stay those of the full softmax
    (in MOSS-RLHF too, at temperature 1): what was drawn from is `behaviour_log_prob`.
    Source: Holtzman et al. 2020, arXiv:1904.09751; top_p_logits of MOSS-RLHF, commit 4865d826.
    """

    share: float = hyper(default=0.9, at_least=0, at_most=1, search=(0.5, 1.0))
    after = ("nlpo_mask", "repetition_penalty", "min_length", "top_k")
    neutral = {"share": 1.0}

    def __call__(self, logits: Tensor, draft: Draft) -> Tensor:
        order = logits.argsort(dim=-1, descending=True, stable=True)
        probability = logits.gather(-1, order).softmax(-1)
        tail = probability.flip(-1).cumsum(-1).flip(-1)  # the token and all that are less likely
        rank = order.argsort(dim=-1)
        is_kept = (tail > 1 - self.share).gather(-1, rank) | (rank == 0) | (self.share == 1)
        return torch.where(is_kept, logits, -inf)
