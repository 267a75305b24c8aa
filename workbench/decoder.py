"""Decoding with a key-value cache: one lean decoder for GPT-2, one for every other architecture.

A decoder reads the live weights of the policy and yields hidden states; logits and the choice of a
token are the sampler's. Prompts are padded on the right, so a cache has holes, which a mask closes.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, GPT2LMHeadModel
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from workbench.models import Policy


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
    model = policy.model
    if isinstance(model, GPT2LMHeadModel) and not model.config.add_cross_attention:
        plain = not (
            model.config.scale_attn_by_inverse_layer_idx or model.config.reorder_and_upcast_attn
        )
        if plain and model.config.scale_attn_weights:
            return Gpt2Decoder(model, new_tokens)
    return LibraryDecoder(policy)


class Gpt2Decoder:
    """GPT-2 with a static cache: the library's arithmetic without its overhead per call."""

    def __init__(self, model: GPT2LMHeadModel, new_tokens: int) -> None:
        self.trunk = model.transformer
        self.heads = model.config.n_head
        self.new_tokens = new_tokens
        self.cache: list[tuple[Tensor, Tensor]] = []
        self.visible = torch.empty(0)
        self.position = torch.empty(0)
        self.filled = 0

    def prefill(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Read prompts [B, P] of the given lengths [B]; return hidden states [B, P, H]."""
        prompt = tokens.shape[1]
        step = torch.arange(prompt, device=tokens.device)
        hidden = self.trunk.wte(tokens) + self.trunk.wpe(step)
        for block in self.trunk.h:
            query, key, value = self._project(block, hidden)
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            hidden = self._finish(block, hidden, attended)
            self.cache.append(tuple(F.pad(x, (0, 0, 0, self.new_tokens)) for x in (key, value)))  # type: ignore[arg-type]
        columns = torch.arange(prompt + self.new_tokens, device=tokens.device)
        self.visible = ((columns < length[:, None]) | (columns >= prompt))[:, None, None]
        self.position, self.filled = length.clone(), prompt
        return self.trunk.ln_f(hidden)  # type: ignore[no-any-return]

    def step(self, token: Tensor) -> Tensor:
        """Read one more token per row [B]; return hidden states [B, H]."""
        hidden = (self.trunk.wte(token) + self.trunk.wpe(self.position))[:, None]
        end = self.filled + 1
        visible = self.visible[..., :end]
        for block, (keys, values) in zip(self.trunk.h, self.cache, strict=True):
            query, key, value = self._project(block, hidden)
            keys[:, :, self.filled : end] = key
            values[:, :, self.filled : end] = value
            attended = F.scaled_dot_product_attention(
                query, keys[:, :, :end], values[:, :, :end], attn_mask=visible
            )
            hidden = self._finish(block, hidden, attended)
        self.filled, self.position = end, self.position + 1
        return self.trunk.ln_f(hidden[:, 0])  # type: ignore[no-any-return]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [b] of the batch only."""
        self.cache = [(keys[rows], values[rows]) for keys, values in self.cache]
        self.visible, self.position = self.visible[rows], self.position[rows]

    def _project(self, block: GPT2Block, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projected = block.attn.c_attn(block.ln_1(hidden))
        shaped = projected.view(*hidden.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = shaped.unbind(0)
        return query, key, value

    def _finish(self, block: GPT2Block, hidden: Tensor, attended: Tensor) -> Tensor:
        hidden = hidden + block.attn.c_proj(attended.transpose(1, 2).flatten(2))
        mlp = block.mlp
        return hidden + mlp.c_proj(mlp.act(mlp.c_fc(block.ln_2(hidden))))  # type: ignore[no-any-return]


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
