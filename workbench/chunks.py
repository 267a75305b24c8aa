"""A batch piece by piece where the whole would fill the memory: rows that a model reads, and logits.

Where a gradient is needed, a piece is made, left, and made again for the gradient: what comes out is
that of the whole batch, to rounding, and every loss and trick sees the whole batch.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from workbench.packing import Wanted

T = TypeVar("T")

GRADIENT_ELEMENTS = 2**25
"""Logits held at a time where a gradient is needed: 128 MiB in float32, and a few times that beside
them. Up to these all are made once; more are made in chunks, and made again when the gradient is."""


def in_chunks(function: Callable[[Tensor, slice], T], hidden: Tensor, vocabulary: int) -> list[T]:
    """Apply a function that makes logits of hidden states to as many of these as there is room for.

    Args:
        function: hidden states [n, H] and which of the N they are -> tensors without a vocabulary. It
            is called a second time for the gradient, and must then find the same.
        hidden: [N, H].
        vocabulary: V, logits per state.
    Returns:
        what it returned, chunk by chunk; one chunk at least.
    """
    if len(hidden) * vocabulary <= GRADIENT_ELEMENTS:
        return [function(hidden, slice(None))]
    size = max(1, GRADIENT_ELEMENTS // vocabulary)
    return [
        checkpoint(function, part, slice(i * size, (i + 1) * size), use_reentrant=False)
        for i, part in enumerate(torch.split(hidden, size))
    ]


def by_rows(read: Callable[[Wanted], Tensor], wanted: Wanted, size: int) -> Tensor:
    """Read so many rows of a batch at a time; with a gradient, no more than that is kept for it.

    Args:
        read: hidden states at the wanted tokens. It is called a second time for the gradient, with
            the random numbers of the first.
        wanted: N tokens.
        size: rows at a time.
    Returns:
        [N, H].
    """

    def of(_: Tensor, part: Wanted) -> Tensor:  # a tensor says whose random numbers to keep
        return read(part)

    parts = wanted.parts(size)
    states = [checkpoint(of, part.rows.tokens, part, use_reentrant=False) for _, part in parts]
    place = torch.cat([index for index, _ in parts])
    return torch.cat(states).index_select(0, place.argsort())
