"""GPT-2's arithmetic on the library's weights, without padding and without overhead per call.

Rows of different length are packed: every product and norm sees only tokens that exist, attention
alone sees a padded batch. The numbers are the library model's, to rounding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Model
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.pytorch_utils import Conv1D


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
    batch, width = tokens.shape
    column = torch.arange(width, device=tokens.device)
    real = (column < length[:, None]).flatten().nonzero().squeeze(1)
    start = length.cumsum(0) - length
    chosen = start[row] + at
    hidden = trunk.wte(tokens.flatten()[real]) + trunk.wpe(real % width)
    last = len(trunk.h) - 1
    for index, block in enumerate(trunk.h):
        projected = project(block, hidden)
        padded = projected.new_zeros(batch * width, projected.shape[1]).index_copy(0, real, projected)
        query, key, value = split_heads(padded.view(batch, width, -1), block.attn.num_heads)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        merged = attended.transpose(1, 2).reshape(batch * width, -1)
        if index == last:  # nothing reads the other tokens any more
            hidden, merged = hidden[chosen], merged[real[chosen]]
        else:
            merged = merged[real]
        hidden = finish(block, hidden, merged)
    return F.layer_norm(hidden, (hidden.shape[-1],), trunk.ln_f.weight, trunk.ln_f.bias, trunk.ln_f.eps)


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
