"""The arithmetic floor of one PPO iteration: counted operations over a measured rate."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tests.benchmarks.cases import Place
from tests.benchmarks.common import CPU

ROWS = 1280
"""Rows of the matrix product whose rate is measured: tokens of a padded minibatch."""


@dataclass(frozen=True)
class Shape:
    """What decides how many operations a GPT-2 takes per token.

    Attributes:
        width: hidden size.
        layers: transformer blocks.
        inner: hidden size of the feed-forward part.
        vocabulary: tokens.
    """

    width: int
    layers: int
    inner: int
    vocabulary: int


def forward_flops(shape: Shape, tokens: int, outputs: int, classes: int) -> int:
    """Count the operations of one sequence's forward pass in matrix products; no padding, causal.

        2·n·L·(4w² + 2w·inner)  +  L·2w·n(n + 1)  +  2·m·c·w

    Weights, then queries with keys and attention with values, then the head.

    Args:
        shape: of the model.
        tokens: n, tokens read.
        outputs: m, positions that go through the head.
        classes: c, outputs of the head per position.
    """
    width, layers = shape.width, shape.layers
    weights = 2 * tokens * layers * (4 * width**2 + 2 * width * shape.inner)
    attention = layers * 2 * width * tokens * (tokens + 1)
    return weights + attention + 2 * outputs * classes * width


def iteration_flops(shape: Shape, lengths: Sequence[tuple[int, int]], epochs: int = 1) -> dict[str, int]:
    """Count the operations that one PPO iteration cannot do without, by pass.

    A training pass is three forward passes: one, and two products per product in the backward pass.
    The last response token is read by the reward model only. Normalisations, activations, softmax
    and the optimiser are not counted.

    Args:
        shape: of all four models.
        lengths: tokens of prompt and response, per response.
        epochs: passes of the update over the responses.
    """
    generator = critic = reward_model = 0
    for prompt, response in lengths:
        read = prompt + response - 1
        generator += forward_flops(shape, read, response, shape.vocabulary)
        critic += forward_flops(shape, read, response, 1)
        reward_model += forward_flops(shape, read + 1, 1, 1)
    return {
        "sampling": generator,
        "reference": generator,
        "critic": critic,
        "reward model": reward_model,
        "policy update": 3 * epochs * generator,
        "critic update": 3 * epochs * critic,
    }


def matrix_rates(width: int, seconds: float = 0.15, place: Place = CPU) -> dict[str, float]:
    """Measure the rate of products [ROWS, width] × [width, 4·width] in operations per second.

    Args:
        width: hidden size.
        seconds: how long to measure each kernel; the median of batches of products counts.
        place: where; in the precision of the matrix products there.
    Returns:
        the rate of `torch.mm` and, where PyTorch has it, that of oneDNN's product: on some processors
        one is twice as fast as the other.
    """
    kind = {"no": torch.float32, "bf16": torch.bfloat16}[place.precision]
    left, right = (
        torch.randn(shape, dtype=kind, device=place.device)
        for shape in ((ROWS, width), (width, 4 * width))
    )
    out = left.new_empty((ROWS, 4 * width))
    kernels: dict[str, Callable[[], object]] = {"torch.mm": lambda: torch.mm(left, right, out=out)}
    if place.device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        onednn = torch.ops.mkldnn._linear_pointwise
        kernels["oneDNN"] = lambda: onednn(left, right.T, None, "none", [], "")
    flops = 2 * ROWS * width * 4 * width
    return {name: flops / _seconds_of(kernel, flops, seconds) for name, kernel in kernels.items()}


def _seconds_of(product: Callable[[], object], flops: int, seconds: float) -> float:
    """Return the median seconds of a matrix product, in batches long enough for the clock."""
    products = max(1, round(5e8 / flops))
    batches: list[float] = []
    end = synchronised() + seconds
    while not batches or time.perf_counter() < end:
        start = synchronised()
        for _ in range(products):
            product()
        batches.append((synchronised() - start) / products)
    return statistics.median(batches)


def synchronised() -> float:
    """Read the clock once the GPU, if one is used, has done all that it was given."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return time.perf_counter()
