"""NLPO's learned mask: only tokens that a guide finds likely may be drawn."""

from math import inf

import torch
from torch import Tensor

from workbench.trick import LogitTransform, hyper
from workbench.types import Draft


class NlpoMask(LogitTransform):
    """Draw only tokens of the top-p set of a guide, a copy of the policy that moves rarely.

        z_v ← −∞ where Σ{g_u : u likelier than v} ≥ p, rank of v ≥ n and v ≠ eos     g = softmax(guide)

    Variant: the guide's n likeliest tokens and the end token are always kept; n is 2 at least, so that a
    token is left where the end token is forbidden. RL4LMs keeps 100 of its 50 257 tokens. This is the
    mask in drawing; `behaviour_ratio` puts it into the ratio, as NLPO has it, and the KL penalty stays
    that of unmasked probabilities. Alone it keeps the first guide for ever, which is what the released
    code does: its logits processor holds on to the mask model it was made with.
    `nlpo_mask_refresh` moves it as the paper says.
    Source: Ramamurthy et al. 2023, arXiv:2210.01241, §4; learned_top_p of RL4LMs, commit 97df0bd2.
    """

    share: float = hyper(default=0.9, above=0, at_most=1, search=(0.5, 0.99))
    min_tokens: int = hyper(default=2, at_least=2, search=(2, 100), log=True)
    needs = frozenset({"guide"})
    neutral = {"share": 1.0}

    def __call__(self, logits: Tensor, draft: Draft) -> Tensor:
        order = draft.guide.argsort(dim=-1, descending=True, stable=True)
        probability = draft.guide.gather(-1, order).softmax(-1)
        tail = probability.flip(-1).cumsum(-1).flip(-1)  # the token and all that are less likely
        rank = order.argsort(dim=-1)
        in_nucleus = (tail > 1 - self.share).gather(-1, rank) | (self.share == 1)
        token = torch.arange(logits.shape[-1], device=logits.device)
        is_kept = in_nucleus | (rank < self.min_tokens) | (token == draft.eos)
        return torch.where(is_kept, logits, -inf)
