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
    """GPT-2 with a cache that grows in steps: the library's arithmetic without its overhead per call."""

    def __init__(self, trunk: GPT2Model, new_tokens: int) -> None:
        self.trunk = trunk
        self.heads = trunk.config.n_head
        self.new_tokens = new_tokens
        self.cache: list[tuple[Tensor, Tensor]] = []
        self.visible = torch.empty(0)
        self.position = torch.empty(0)
        self.filled = 0

    def prefill(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Read prompts [B, P] of the given lengths [B]; return hidden states [B, P, H]."""
        batch, prompt = tokens.shape
        column = torch.arange(prompt + self.new_tokens, device=tokens.device)
        hidden = (self.trunk.wte(tokens) + self.trunk.wpe(column[:prompt])).flatten(0, 1)
        for block in self.trunk.h:
            projected = gpt2.project(block, hidden).view(batch, prompt, -1)
            query, key, value = gpt2.split_heads(projected, self.heads)
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            hidden = gpt2.finish(block, hidden, attended.transpose(1, 2).reshape(len(hidden), -1))
            self.cache.append((key, value))
        self.visible = ((column < length[:, None]) | (column >= prompt))[:, None, None]
        self.position, self.filled = length.clone(), prompt
        return self.trunk.ln_f(hidden).view(batch, prompt, -1)  # type: ignore[no-any-return]

    def step(self, token: Tensor) -> Tensor:
        """Read one more token per row [B]; return hidden states [B, H]."""
        hidden = self.trunk.wte(token) + self.trunk.wpe(self.position)
        end = self.filled + 1
        if end > self.cache[0][0].shape[2]:
            self.cache = [(F.pad(keys, ROOM), F.pad(values, ROOM)) for keys, values in self.cache]
        visible = self.visible[..., :end]
        for block, (keys, values) in zip(self.trunk.h, self.cache, strict=True):
            projected = gpt2.project(block, hidden)[:, None]
            query, key, value = gpt2.split_heads(projected, self.heads)
            keys[:, :, self.filled : end] = key
            values[:, :, self.filled : end] = value
            attended = F.scaled_dot_product_attention(
                query, keys[:, :, :end], values[:, :, :end], attn_mask=visible
            )
            hidden = gpt2.finish(block, hidden, attended.flatten(1))
        self.filled, self.position = end, self.position + 1
        return self.trunk.ln_f(hidden)  # type: ignore[no-any-return]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [b] of the batch only."""
        self.cache = [(keys[rows], values[rows]) for keys, values in self.cache]
        self.visible, self.position = self.visible[rows], self.position[rows]


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
