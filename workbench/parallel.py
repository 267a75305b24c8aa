"""One run on several processes: the rows of every batch are shared out, everything else is as with one.

Started by `accelerate launch`, every process holds the same weights and runs the same program. Sampling
and the forward and backward passes are done by rows (`Share`) and their results put together again, so
that all else, every trick above all, sees the whole batch and finds the same numbers everywhere. After
the backward pass the gradients are added up, so the weights stay the same, too.

Two rules follow. All processes make the calls of this file in the same order, or they wait for each
other in vain. And what shall happen once, like writing or printing, is for the main process (`is_main`).
They know of each other from `device.make_accelerator` on. With one process nothing here does anything.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

T = TypeVar("T")

BUCKET_ELEMENTS = 2**25
"""Gradients are added up this many at a time: 128 MiB in float32, whatever the size of the model."""


def processes() -> int:
    """Return how many processes work on this run."""
    return distributed.get_world_size() if _is_connected() else 1


def process() -> int:
    """Return the number of this process; the main one has 0."""
    return distributed.get_rank() if _is_connected() else 0


def is_main() -> bool:
    """Say whether this is the process that writes and prints."""
    return process() == 0


def broadcast(value: T) -> T:
    """Return the main process's value on every process; it has to be picklable."""
    box = [value]
    if processes() > 1:
        distributed.broadcast_object_list(box, src=0)
    return box[0]


def collect(value: T) -> list[T]:
    """Return the values of all processes, in order, on every process; they have to be picklable."""
    values = [value] * processes()
    if len(values) > 1:
        distributed.all_gather_object(values, value)
    return values


def require_same(value: object, what: str) -> None:
    """Refuse to go on unless every process has the same value.

    Raises:
        ValueError: on every process, in one sentence.
    """
    values = collect(value)
    if any(other != values[0] for other in values):
        raise ValueError(f"the processes differ in {what}: {', '.join(map(str, values))}")


def leave() -> None:
    """Part from the other processes, when all have done their work; `process` is 0 from then on."""
    if _is_connected():
        distributed.destroy_process_group()


def _is_connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@dataclass(frozen=True)
class Share:
    """Which rows of a batch each process works on: all of them, in order, as evenly as can be.

    Attributes:
        counts: rows of each process.
        process: number of this process.
    """

    counts: tuple[int, ...]
    process: int

    @classmethod
    def of(cls, rows: int) -> "Share":
        """Share out `rows` rows, one at least, over all processes."""
        each, left = divmod(rows, processes())
        return cls(tuple(each + (number < left) for number in range(processes())), process())

    @property
    def is_everything(self) -> bool:
        """Say whether there is no other process."""
        return len(self.counts) == 1

    @property
    def count(self) -> int:
        """How many rows are this process's own."""
        return self.counts[self.process]

    @property
    def rows(self) -> slice:
        """The rows to work on; a process without any does the last one over, and `gather` drops it."""
        first = sum(self.counts[: self.process])
        return slice(first if self.count else first - 1, first + max(self.count, 1))

    def gather(self, mine: Tensor) -> Tensor:
        """Put the rows of all processes together, in order.

        The gradient goes back to where a row came from. What is made of the whole batch is made by
        every process alike, so each process's gradient is already whole: nothing is summed here.

        Args:
            mine: [b, …] one row for each of `rows`; all but the first size are the same everywhere.
        Returns:
            [B, …].
        """
        return mine if self.is_everything else _Gather.apply(mine, self)  # type: ignore[no-untyped-call]

    def gather_list(self, mine: Sequence[T]) -> list[T]:
        """Put lists together, in order, that have an element for each of `rows`."""
        return [element for part in collect(list(mine[: self.count])) for element in part]

    def total(self, part: Tensor) -> Tensor:
        """Add up a number or tensor of every process that has rows, with gradient as in `gather`."""
        counted = part if self.count else torch.zeros_like(part)
        every = Share((1,) * len(self.counts), self.process)
        return every.gather(counted[None]).sum(0)


class _Gather(torch.autograd.Function):
    """`Share.gather` among several processes."""

    @staticmethod
    def forward(context: Any, mine: Tensor, share: Share) -> Tensor:
        context.share, context.shape = share, mine.shape
        padded = mine.new_zeros((max(share.counts), *mine.shape[1:]))
        padded[: share.count] = mine[: share.count]
        parts = [torch.empty_like(padded) for _ in share.counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, share.counts, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        share, (gradient,) = context.share, gradients
        mine = gradient.new_zeros(context.shape)
        if share.count:
            mine.copy_(gradient[share.rows])
        return mine, None


def sum_gradients(*parts: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes, in place; what has none anywhere stays without.

    Args:
        parts: the parameters, in the same order on every process.
    """
    if processes() == 1:
        return
    parameters = [parameter for part in parts for parameter in part]
    has_some = torch.tensor([p.grad is not None for p in parameters], device=parameters[0].device).int()
    distributed.all_reduce(has_some, distributed.ReduceOp.MAX)
    found = [p for p, has in zip(parameters, has_some.tolist(), strict=True) if has]
    for parameter in found:
        if parameter.grad is None:  # another process's rows reached it, ours did not
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([p.grad for p in found if p.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        distributed.all_reduce(flat)
        sizes = [gradient.numel() for gradient in bucket]
        for gradient, whole in zip(bucket, torch.split(flat, sizes), strict=True):
            gradient.copy_(whole.view_as(gradient))


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors, in order, so that a group has BUCKET_ELEMENTS elements or one tensor."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in [*bucket, tensor]) > BUCKET_ELEMENTS:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
