"""GPT-2's arithmetic on the library's weights, without padding and without overhead per call.

Rows of different length are packed: every product and norm sees only tokens that exist, attention
alone sees padded batches of rows of similar length. The numbers are the library model's, to rounding.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Model
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.pytorch_utils import Conv1D

from workbench.arithmetic import affine, gelu
from workbench.packing import Chosen, Packing, Wanted

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


def states_at(trunk: GPT2Model, wanted: Wanted) -> Tensor:
    """Compute the last hidden states at chosen tokens.

    Args:
        trunk: GPT-2 for which `is_plain` holds.
        wanted: what it reads, and which N tokens are chosen.
    Returns:
        [N, H].
    """
    packing, chosen = wanted.rows.packing, wanted.chosen
    hidden = embed(trunk, wanted.rows.tokens[packing.row, packing.position], packing.position)
    *blocks, last = trunk.h
    for block in blocks:
        hidden = finish(block, hidden, _attend_everywhere(block, hidden, packing))
    merged = _attend_where_chosen(last, hidden, packing, chosen)
    hidden = finish(last, hidden.index_select(0, chosen.token), merged)
    return norm(trunk.ln_f, hidden).index_select(0, chosen.place)


def _attend_everywhere(block: GPT2Block, hidden: Tensor, packing: Packing) -> Tensor:
    """Map the hidden states of all tokens [n, H] to what they attend to [n, H]."""
    shape, padding = head_shape(block), packing.padding
    padded = padding.pad(project(block, hidden))
    return padding.unpad([attend(*split_heads(part, *shape)) for part in padded])


def _attend_where_chosen(block: GPT2Block, hidden: Tensor, packing: Packing, chosen: Chosen) -> Tensor:
    """Map the hidden states of all tokens [n, H] to what the chosen ones attend to [N, H]."""
    shape, size = head_shape(block), hidden.shape[1]
    layer, normal = block.attn.c_attn, norm(block.ln_1, hidden)
    weights, biases = layer.weight.split([size, 2 * size], 1), layer.bias.split([size, 2 * size])
    queries = affine(normal.index_select(0, chosen.token), weights[0], biases[0])
    others = affine(normal, weights[1].contiguous(), biases[1])
    attended = []
    for asked, other, hidden_keys in zip(
        chosen.padding.pad(queries),
        packing.padding.pad(others),
        chosen.bias(shape[0], hidden.dtype),
        strict=True,
    ):
        (query,), (key, value) = split_heads(asked, *shape), split_heads(other, *shape)
        attended.append(attend(query, key, value, hidden_keys))
    return chosen.padding.unpad(attended)


def embed(trunk: GPT2Model, token: Tensor, position: Tensor) -> Tensor:
    """Return the first hidden states [N, H] of tokens [N] at positions [N]."""
    return F.embedding(token, trunk.wte.weight) + F.embedding(position, trunk.wpe.weight)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Let queries [B, heads, L, D] attend to keys and values [B, heads, K, D].

    Args:
        query: of rows padded on the right.
        key: of the same rows.
        value: of the same rows.
        bias: [B, heads, L, K] −∞ where a query may not look, else 0; if absent, a query may not look
            behind itself, and L is K.
    Returns:
        [B, L, H].
    """
    if query.is_cuda or key.shape[2] > PRODUCT_WIDTH:
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, is_causal=bias is None)
    else:
        mixed = _attend_by_products(query, key, value, bias)
    return mixed.transpose(1, 2).flatten(2)


def _attend_by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Do the same as two products, faster than the fused kernel on short rows."""
    rows, heads, width, size = query.shape
    query, key, value = (part.reshape(rows * heads, -1, size) for part in (query, key, value))
    offset = _causal_bias(width, query.dtype) if bias is None else bias.flatten(0, 1)
    scores = torch.baddbmm(offset, query, key.mT, alpha=size**-0.5)
    return torch.bmm(scores.softmax(-1), value).view(rows, heads, width, size)


@lru_cache(maxsize=32)
def _causal_bias(width: int, dtype: torch.dtype) -> Tensor:
    """Return [width, width] −∞ behind the diagonal, 0 elsewhere."""
    return torch.full((width, width), -torch.inf, dtype=dtype).triu(1)


def project(block: GPT2Block, hidden: Tensor) -> Tensor:
    """Map hidden states [N, H] to query, key and value [N, 3H] of the block's attention."""
    return _affine(block.attn.c_attn, norm(block.ln_1, hidden))


def head_shape(block: GPT2Block) -> tuple[int, int]:
    """Return how many heads a block has, and the size of each."""
    return block.attn.num_heads, block.attn.head_dim


def split_heads(projected: Tensor, heads: int, size: int) -> tuple[Tensor, ...]:
    """Split [B, L, k · heads · D] into k parts, query, key and value, each [B, heads, L, D]."""
    batch, width, _ = projected.shape
    return projected.view(batch, width, -1, heads, size).permute(2, 0, 3, 1, 4).unbind(0)


def finish(block: GPT2Block, hidden: Tensor, attended: Tensor) -> Tensor:
    """Do the rest of the block: output projection, residual, MLP, residual; all [N, H]."""
    hidden = hidden + _affine(block.attn.c_proj, attended)
    inner = _affine(block.mlp.c_fc, norm(block.ln_2, hidden))
    is_known = isinstance(block.mlp.act, GELUTanh | NewGELUActivation)  # two names of one function
    return hidden + _affine(block.mlp.c_proj, gelu(inner) if is_known else block.mlp.act(inner))


def _affine(layer: Conv1D, inputs: Tensor) -> Tensor:
    return affine(inputs, layer.weight, layer.bias)


def norm(layer: nn.LayerNorm, inputs: Tensor) -> Tensor:
    """Normalise [N, H]."""
    return F.layer_norm(inputs, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
