"""Rows of different length without padding, and in small padded batches where they attend."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

GROUP_ROWS = 16
"""Rows that attend together on a CPU, sorted by length so that little of the batch is padding."""


@dataclass(frozen=True)
class Padding:
    """How n vectors that belong to rows, listed row by row, are spread over groups of rows.

    Attributes:
        shapes: rows and width of each group, a batch padded to its longest row.
        cell: [c] the vector in each cell of the groups; the first of all in padding.
        real: [n] the cell of each vector.
    """

    shapes: list[tuple[int, int]]
    cell: Tensor
    real: Tensor

    @classmethod
    def of(cls, count: Tensor, group_rows: int) -> "Padding":
        """Spread rows with `count` [B] vectors each over groups of so many rows."""
        parts = torch.split(count, group_rows)
        shapes = [(len(part), max(1, int(part.max()))) for part in parts]
        width = torch.tensor([w for rows, w in shapes for _ in range(rows)], device=count.device)
        column = torch.arange(max(w for _, w in shapes), device=count.device)
        row, at = (column < width[:, None]).nonzero(as_tuple=True)
        exists = at < count[row]
        cell = torch.where(exists, exists.cumsum(0) - 1, 0)
        return cls(shapes, cell, exists.nonzero().squeeze(1))

    def pad(self, values: Tensor) -> list[Tensor]:
        """Spread vectors [n, C] over the groups, each [rows, width, C]."""
        padded = values.index_select(0, self.cell)
        parts = torch.split(padded, [rows * width for rows, width in self.shapes])
        return [part.view(*shape, -1) for part, shape in zip(parts, self.shapes, strict=True)]

    def unpad(self, groups: Sequence[Tensor]) -> Tensor:
        """Undo `pad`: groups [rows, width, C] to [n, C]."""
        return torch.cat([group.flatten(0, 1) for group in groups]).index_select(0, self.real)


@dataclass(frozen=True)
class Packing:
    """Where the n tokens of B rows stand when nothing else does, the longest row first.

    Attributes:
        row: [n] row of each token.
        position: [n] its index in the row.
        start: [B] where each row's first token stands.
        order: [B] the rows, as they stand.
        padding: how they attend in groups; no token of a row looks at what is behind its end.
    """

    row: Tensor
    position: Tensor
    start: Tensor
    order: Tensor
    padding: Padding

    @classmethod
    def of(cls, length: Tensor) -> "Packing":
        """Pack rows of the given lengths [B], in one group on a GPU."""
        order = length.argsort(descending=True, stable=True)
        return cls.in_order(length, order, len(length) if length.is_cuda else GROUP_ROWS)

    @classmethod
    def in_order(cls, length: Tensor, order: Tensor, group_rows: int) -> "Packing":
        """Pack rows of the given lengths [B] in a given order [B]."""
        count = length[order]
        column = torch.arange(int(count.max()), device=length.device)
        row, position = (column < count[:, None]).nonzero(as_tuple=True)
        start = torch.empty_like(length)
        start[order] = count.cumsum(0) - count
        padding = Padding.of(count, group_rows)
        return cls(order[row], position, start, order, padding)

    def choose(self, row: Tensor, at: Tensor) -> "Chosen":
        """Say how chosen tokens, at positions `at` [N] of rows [N], attend to all others."""
        token, listed = (self.start[row] + at).sort()
        place = torch.empty_like(listed)
        place[listed] = torch.arange(len(listed), device=listed.device)
        count = torch.bincount(row, minlength=len(self.order))[self.order]
        padding = Padding.of(count, self.padding.shapes[0][0])
        positions = padding.pad(self.position[token][:, None])
        future = [
            torch.arange(width, device=row.device) > position
            for position, (_, width) in zip(positions, self.padding.shapes, strict=True)
        ]
        return Chosen(token, place, padding, future)


@dataclass(frozen=True)
class Chosen:
    """Tokens that the last layer is asked for: N of the n tokens of a packing.

    Attributes:
        token: [N] where they stand in the packing, in that order.
        place: [N] where each of them stands in `token`, in the order in which they were asked for.
        padding: how they attend, in the packing's groups.
        future: of each group [rows, width of queries, width], True where a key is behind the query.
    """

    token: Tensor
    place: Tensor
    padding: Padding
    future: list[Tensor]
    _bias: dict[tuple[int, torch.dtype], list[Tensor]] = field(default_factory=dict)

    def bias(self, heads: int, dtype: torch.dtype) -> list[Tensor]:
        """Return −∞ where a key is behind the query, else 0, of each group [rows, heads, …]; kept."""
        if (heads, dtype) not in self._bias:
            zero = torch.zeros((), dtype=dtype, device=self.token.device)
            masked = [torch.where(part, -torch.inf, zero)[:, None] for part in self.future]
            self._bias[heads, dtype] = [m.repeat_interleave(heads, 1) for m in masked]
        return self._bias[heads, dtype]


@dataclass(frozen=True)
class Rows:
    """Rows of tokens that models read.

    Attributes:
        tokens: [B, L] padded on the right.
        length: [B] tokens per row.
    """

    tokens: Tensor
    length: Tensor

    @cached_property
    def packing(self) -> Packing:
        """Where the tokens stand without padding; worked out once for all models that read them."""
        return Packing.of(self.length)

    def choose(self, row: Tensor, at: Tensor) -> "Wanted":
        """Ask for tokens at positions `at` [N] of rows [N]."""
        return Wanted(self, row, at)


@dataclass(frozen=True)
class Wanted:
    """Tokens whose last hidden states are asked for.

    Attributes:
        rows: where they stand.
        row: [N] row of each token.
        at: [N] its position in the row.
    """

    rows: Rows
    row: Tensor
    at: Tensor

    @cached_property
    def chosen(self) -> Chosen:
        """Where they stand without padding; worked out once for all models that are asked."""
        return self.rows.packing.choose(self.row, self.at)

    def parts(self, size: int) -> list[tuple[Tensor, "Wanted"]]:
        """Split it by rows, `size` of similar length at a time: which of the N tokens, and those.

        Rows of which nothing is wanted make no part.
        """
        order = self.rows.length.argsort(descending=True, stable=True)
        place, found = order.argsort()[self.row], []
        for number, block in enumerate(torch.split(order, size)):
            index = (place // size == number).nonzero().squeeze(1)
            length = self.rows.length[block]
            rows = Rows(self.rows.tokens[block, : int(length.max())], length)
            found.append((index, rows.choose(place[index] % size, self.at[index])))
        return [(index, part) for index, part in found if len(index)]
