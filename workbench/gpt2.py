"""GPT-2's arithmetic on the library's weights, without padding and without overhead per call.

Rows of different length are packed: every product and norm sees only tokens that exist, attention
alone sees padded batches of rows of similar length. The numbers are the library model's, to rounding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Model
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.pytorch_utils import Conv1D

GROUP_ROWS = 16
"""Rows that attend together on a CPU, sorted by length so that little of the batch is padding."""
PRODUCT_WIDTH = 256
"""Up to this width attention is two batched products on a CPU; beyond it the fused kernel wins."""


def is_plain(trunk: nn.Module) -> bool:
    """Say whether the trunk is a GPT-2 whose arithmetic is the one below."""
    if not isinstance(trunk, GPT2Model) or trunk.gradient_checkpointing:
        return False
    config = trunk.config
    drops = config.embd_pdrop or config.attn_pdrop or config.resid_pdrop
    return bool(
        config.scale_attn_weights
        and not config.scale_attn_by_inverse_layer_idx
        and not config.reorder_and_upcast_attn
        and not config.add_cross_attention
        and not (trunk.training and drops)
    )


def states_at(trunk: GPT2Model, tokens: Tensor, length: Tensor, row: Tensor, at: Tensor) -> Tensor:
    """Compute the last hidden states at chosen tokens.

    Args:
        trunk: GPT-2 for which `is_plain` holds.
        tokens: [B, L] rows padded on the right.
        length: [B] tokens per row.
        row: [N] row of each chosen token.
        at: [N] position of each chosen token in its row.
    Returns:
        [N, H].
    """
    order = length.argsort(descending=True, stable=True)
    groups = _groups(length[order])
    column = torch.arange(tokens.shape[1], device=tokens.device)
    from_row, position = (column < length[order][:, None]).nonzero(as_tuple=True)
    start = torch.empty_like(length)
    start[order] = length[order].cumsum(0) - length[order]
    chosen = start[row] + at
    hidden = trunk.wte(tokens[order[from_row], position]) + trunk.wpe(position)
    last = len(trunk.h) - 1
    for index, block in enumerate(trunk.h):
        parts = torch.split(project(block, hidden), [len(group.real) for group in groups])
        attended = [
            group.attend(part, block.attn.num_heads) for group, part in zip(groups, parts, strict=True)
        ]
        merged = torch.cat(attended)
        if index == last:  # nothing reads the other tokens any more
            hidden, merged = hidden.index_select(0, chosen), merged.index_select(0, chosen)
        hidden = finish(block, hidden, merged)
    return _norm(trunk.ln_f, hidden)


@dataclass(frozen=True)
class _Group:
    """Rows of similar length that attend as one padded batch.

    Attributes:
        shape: rows and width of the batch.
        cell: [rows · width] which of the group's n tokens stands in each cell; 0 in padding, where
            no token of the row looks.
        real: [n] the cells that hold tokens.
    """

    shape: tuple[int, int]
    cell: Tensor
    real: Tensor

    def attend(self, projected: Tensor, heads: int) -> Tensor:
        """Map query, key and value [n, 3H] of the group's tokens to what they attend to [n, H]."""
        padded = projected.index_select(0, self.cell).view(*self.shape, -1)
        query, key, value = split_heads(padded, heads)
        if padded.is_cuda or self.shape[1] > PRODUCT_WIDTH:
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            mixed = _attend_by_products(query, key, value)
        return mixed.transpose(1, 2).reshape(len(self.cell), -1).index_select(0, self.real)


def _groups(length: Tensor) -> list[_Group]:
    """Split rows of falling lengths [B] into groups: one on a GPU, of GROUP_ROWS rows elsewhere."""
    groups = []
    for part in torch.split(length, len(length) if length.is_cuda else GROUP_ROWS):
        rows, width = len(part), int(part[0])
        exists = (torch.arange(width, device=length.device) < part[:, None]).flatten()
        real = exists.nonzero().squeeze(1)
        cell = torch.where(exists, exists.cumsum(0) - 1, 0)
        groups.append(_Group((rows, width), cell, real))
    return groups


def _attend_by_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention [B, heads, L, D] as two products, faster than the fused kernel on short rows."""
    rows, heads, width, size = query.shape
    flat = (rows * heads, width, size)
    bias = torch.full((width, width), -torch.inf, dtype=query.dtype, device=query.device).triu(1)
    scores = torch.baddbmm(bias, query.reshape(flat), key.reshape(flat).mT, alpha=size**-0.5)
    return torch.bmm(scores.softmax(-1), value.reshape(flat)).view(rows, heads, width, size)


def project(block: GPT2Block, hidden: Tensor) -> Tensor:
    """Map hidden states [N, H] to query, key and value [N, 3H] of the block's attention."""
    return _affine(block.attn.c_attn, _norm(block.ln_1, hidden))


def split_heads(projected: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split [B, L, 3H] into query, key and value, each [B, heads, L, H / heads]."""
    batch, width, _ = projected.shape
    query, key, value = projected.view(batch, width, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return query, key, value


def finish(block: GPT2Block, hidden: Tensor, attended: Tensor) -> Tensor:
    """Do the rest of the block: output projection, residual, MLP, residual; all [N, H]."""
    hidden = hidden + _affine(block.attn.c_proj, attended)
    inner = block.mlp.act(_affine(block.mlp.c_fc, _norm(block.ln_2, hidden)))
    return hidden + _affine(block.mlp.c_proj, inner)


def _affine(layer: Conv1D, inputs: Tensor) -> Tensor:
    return torch.addmm(layer.bias, inputs, layer.weight)


def _norm(layer: nn.LayerNorm, inputs: Tensor) -> Tensor:
    return F.layer_norm(inputs, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
