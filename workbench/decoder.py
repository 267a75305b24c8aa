"""Decoding with a key-value cache: one lean decoder for GPT-2, one for every other architecture.

A decoder reads the live weights of the policy and yields hidden states; logits and the choice of a
token are the sampler's. Prompts come padded on the right: GPT-2's cache then has holes, which a mask
closes; the library is given them padded on the left, as it may count a cache's columns, not positions.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, GPT2Model

from workbench import gpt2
from workbench.models import Policy
from workbench.packing import Packing

FAITHFUL = 0.01
"""Most that decoded states may differ by, of their length; in full precision rounding is far below."""

LEAST_ROOM, ROOM = 32, 16
"""Columns of the smallest cache, and how many it grows by, so that dropping rows copies little."""


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


def make_decoder(policy: Policy) -> Decoder:
    """Choose the decoder for the policy's architecture."""
    trunk = policy.model.base_model
    return Gpt2Decoder(trunk) if gpt2.is_plain(trunk) else LibraryDecoder(policy)


@torch.no_grad()
def require_faithful(policy: Policy) -> None:
    """Refuse a model that says something else token by token than it says of a whole text.

        ‖h' − h‖ ≤ FAITHFUL ‖h‖     h' decoded behind prompts of two lengths, h of a forward pass

    Raises:
        ValueError: in one sentence.
    """
    model = policy.model
    if gpt2.is_plain(model.base_model):
        return
    tokens = torch.arange(16, device=model.device).reshape(2, 8) % policy.vocabulary
    row, prompt = torch.arange(2, device=model.device), torch.tensor([2, 5], device=model.device)
    behind = row[:, None], prompt[:, None] + torch.arange(3, device=model.device)
    whole = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state[behind]
    decoder = LibraryDecoder(policy)
    decoder.prefill(tokens[:, :5], prompt)
    decoded = torch.stack([decoder.step(token) for token in tokens[behind].T], 1)
    if (whole - decoded).norm() > FAITHFUL * whole.norm():
        raise ValueError(
            f"a {model.config.model_type} cannot be sampled from here: token by token it does not say "
            "what it says of a whole text; take a policy of another architecture"
        )


class Gpt2Decoder:
    """GPT-2 with a cache that grows in steps: the library's arithmetic without its overhead per call.

    Attributes:
        cache: [layers, 2, B, heads, room, D] keys and values; columns up to `filled` are in use.
        bias: [B, heads, 1, room] 0 where there is a token, −∞ elsewhere.
        position: [B] of the next token.
    """

    def __init__(self, trunk: GPT2Model) -> None:
        self.trunk = trunk
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
            caches.append(torch.stack([key, value]))
            attended = packing.padding.unpad([gpt2.attend(query, key, value)])
            hidden = gpt2.finish(block, hidden, attended)
        self.cache, self.filled, self.position = torch.stack(caches), tokens.shape[1], length
        seen = torch.arange(self.filled, device=length.device) < length[:, None]
        bias = torch.where(seen, self.cache.new_zeros(()), -torch.inf)[:, None, None]
        self.bias = bias.repeat(1, self.cache.shape[3], 1, 1)
        self._grow(max(LEAST_ROOM, self.filled + ROOM) - self.filled)
        states = hidden.new_zeros((*tokens.shape, hidden.shape[-1]))
        return states.index_put_((packing.row, packing.position), gpt2.norm(self.trunk.ln_f, hidden))

    def step(self, token: Tensor) -> Tensor:
        """Read one more token per row [B]; return hidden states [B, H]."""
        if self.filled == self.cache.shape[4]:
            self._grow(ROOM)
        self.bias.select(3, self.filled).zero_()
        places = self.cache.select(4, self.filled).unbind(0)
        hidden = gpt2.embed(self.trunk, token, self.position)
        for block, place, past in zip(self.trunk.h, places, self.cache.unbind(0), strict=True):
            heads, size = gpt2.head_shape(block)
            projected = gpt2.project(block, hidden).view(-1, 3, heads, size).transpose(0, 1)
            place.copy_(projected[1:])
            query, (keys, values) = projected[0][:, :, None], past.unbind(0)
            attended = gpt2.attend(query, keys, values, self.bias).squeeze(1)
            hidden = gpt2.finish(block, hidden, attended)
        self.filled, self.position = self.filled + 1, self.position + 1
        return gpt2.norm(self.trunk.ln_f, hidden)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [b] of the batch only."""
        self.cache = self.cache.index_select(2, rows)
        self.bias, self.position = self.bias.index_select(0, rows), self.position[rows]

    def _grow(self, columns: int) -> None:
        self.cache = F.pad(self.cache, (0, 0, 0, columns))
        self.bias = F.pad(self.bias, (0, columns), value=-torch.inf)


class LibraryDecoder:
    """Any causal model of transformers, through its own cache and attention mask.

    Sliding windows, ALiBi and recurrent layers see columns of the cache, so prompts are padded on the
    left here: no padding lies between a prompt and its response.
    """

    def __init__(self, policy: Policy) -> None:
        self.model = policy.model
        self.cache = DynamicCache(config=self.model.config)
        self.seen = torch.empty(0)
        self.position = torch.empty(0)

    def prefill(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Read prompts [B, P] of the given lengths [B]; return hidden states [B, P, H]."""
        column, width = torch.arange(tokens.shape[1], device=tokens.device), tokens.shape[1]
        turned = (column + length[:, None]) % width  # the columns of each row, its padding first
        self.seen = (turned < length[:, None]).long()
        self.position = length.clone()
        hidden = self._forward(tokens.gather(1, turned), turned * self.seen)
        back = (column - length[:, None]) % width
        return hidden.take_along_dim(back[..., None], 1)

    def step(self, token: Tensor) -> Tensor:
        """Read one more token per row [B]; return hidden states [B, H]."""
        self.seen = F.pad(self.seen, (0, 1), value=1)
        hidden = self._forward(token[:, None], self.position[:, None])
        self.position = self.position + 1
        return hidden[:, 0]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [b] of the batch only."""
        self.cache.reorder_cache(rows)
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
