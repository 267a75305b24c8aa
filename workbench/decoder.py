"""Decoding with a key-value cache: one lean decoder for GPT-2, one for every other architecture.

A decoder reads the live weights of the policy and yields hidden states; logits and the choice of a
token are the sampler's. Prompts are padded on the right, so a cache has holes, which a mask closes.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, GPT2Model

from workbench import gpt2
from workbench.models import Policy
from workbench.packing import Packing

ROOM = (0, 0, 0, 16)
"""The cache grows by 16 columns at a time, so that dropping rows copies little."""


class Decoder(Protocol):
    """Feed tokens in, get the hidden state that predicts the next token."""

    def prefill(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Read prompts [B, P] of the given lengths [B]; return hidden states [B, P, H]."""
        ...

    def step(self, token: Tensor) -> Tensor:
        """Read one more token per row [B]; return hidden states [B, H]."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [b] of the batch only."""
        ...


def make_decoder(policy: Policy, new_tokens: int) -> Decoder:
    """Choose the decoder for the policy's architecture.

    Args:
        policy: the model to decode with.
        new_tokens: tokens that will be decoded at most.
    """
    trunk = policy.model.base_model
    return Gpt2Decoder(trunk, new_tokens) if gpt2.is_plain(trunk) else LibraryDecoder(policy)


class Gpt2Decoder:
    """GPT-2 with a cache that grows in steps: the library's arithmetic without its overhead per call.

    Attributes:
        cache: [B, layers, 2, heads, room, D] keys and values; columns up to `filled` are in use.
        bias: [B, 1, 1, P + new tokens] −∞ in the holes behind short prompts, 0 elsewhere.
        position: [B] of the next token.
    """

    def __init__(self, trunk: GPT2Model, new_tokens: int) -> None:
        self.trunk = trunk
        self.heads = trunk.config.n_head
        self.new_tokens = new_tokens
        self.cache = self.bias = self.position = torch.empty(0)
        self.filled = 0

    def prefill(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Read prompts [B, P] of the given lengths [B]; return hidden states [B, P, H], 0 on padding."""
        every = torch.arange(len(length), device=length.device)
        packing = Packing.in_order(length, every, len(every))
        caches: list[Tensor] = []
        hidden = gpt2.embed(self.trunk, tokens[packing.row, packing.position], packing.position)
        for block in self.trunk.h:
            [padded] = packing.padding.pad(gpt2.project(block, hidden))
            query, key, value = gpt2.split_heads(padded, *gpt2.head_shape(block))
            caches.append(torch.stack([key, value], 1))
            hidden = gpt2.finish(block, hidden, packing.padding.unpad([gpt2.attend(query, key, value)]))
        self.cache, self.filled = torch.stack(caches, 1), tokens.shape[1]
        column = torch.arange(self.filled + self.new_tokens, device=tokens.device)
        hole = (column >= length[:, None]) & (column < self.filled)
        self.bias = torch.where(hole, -torch.inf, self.cache.new_zeros(()))[:, None, None]
        self.position = length
        states = hidden.new_zeros((*tokens.shape, hidden.shape[-1]))
        return states.index_put_((packing.row, packing.position), gpt2.norm(self.trunk.ln_f, hidden))

    def step(self, token: Tensor) -> Tensor:
        """Read one more token per row [B]; return hidden states [B, H]."""
        end, heads = self.filled + 1, self.heads
        if end > self.cache.shape[4]:
            self.cache = F.pad(self.cache, ROOM)
        new, seen = self.cache.select(4, self.filled).unbind(1), self.cache.narrow(4, 0, end).unbind(1)
        bias = self.bias.narrow(3, 0, end)
        hidden = gpt2.embed(self.trunk, token, self.position)
        for block, place, past in zip(self.trunk.h, new, seen, strict=True):
            projected = gpt2.project(block, hidden).view(len(token), 3, heads, -1)
            place.copy_(projected.narrow(1, 1, 2))
            keys, values = past.unbind(1)
            query = projected.select(1, 0).unsqueeze(2)
            attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)
            hidden = gpt2.finish(block, hidden, attended.flatten(1))
        self.filled, self.position = end, self.position + 1
        return gpt2.norm(self.trunk.ln_f, hidden)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [b] of the batch only."""
        self.cache = self.cache.index_select(0, rows)
        self.bias, self.position = self.bias.index_select(0, rows), self.position[rows]


class LibraryDecoder:
    """Any causal model of transformers, through its own cache and attention mask."""

    def __init__(self, policy: Policy) -> None:
        self.model = policy.model
        self.cache = DynamicCache(config=self.model.config)
        self.seen = torch.empty(0)
        self.position = torch.empty(0)

    def prefill(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Read prompts [B, P] of the given lengths [B]; return hidden states [B, P, H]."""
        columns = torch.arange(tokens.shape[1], device=tokens.device)
        self.seen = (columns < length[:, None]).long()
        self.position = length.clone()
        return self._forward(tokens, columns.expand_as(tokens))

    def step(self, token: Tensor) -> Tensor:
        """Read one more token per row [B]; return hidden states [B, H]."""
        self.seen = F.pad(self.seen, (0, 1), value=1)
        hidden = self._forward(token[:, None], self.position[:, None])
        self.position = self.position + 1
        return hidden[:, 0]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [b] of the batch only."""
        self.cache.batch_select_indices(rows)
        self.seen, self.position = self.seen[rows], self.position[rows]

    def _forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        output = self.model.base_model(
            input_ids=tokens,
            attention_mask=self.seen,
            position_ids=position,
            past_key_values=self.cache,
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden
