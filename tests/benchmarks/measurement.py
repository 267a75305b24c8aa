"""Blocks of iterations of both sides in turn, and what they say together."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.common import Common
from tests.benchmarks.floor import Shape, iteration_flops, matrix_rate
from tests.benchmarks.ours import Ours

if TYPE_CHECKING:
    from tests.benchmarks.trl_peer import Trl

PASSES = {
    "sampling": ("sampling",),
    "scoring": ("reference", "critic", "reward model"),
    "update": ("policy update", "critic update"),
    "monitors": (),
}
"""The passes whose operations each phase of an iteration has to do."""


@dataclass(frozen=True)
class Spread:
    """Median and range of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Block:
    """One turn of each side, and the machine's rate around ours.

    Attributes:
        ours: seconds of each iteration of the workbench.
        trl: seconds of each iteration of TRL.
        collect_seconds: seconds per iteration of TRL in garbage collection, part of `trl`.
        flops: operations per iteration that the workbench's responses called for, by pass.
        rate: operations per second of a matrix product.
    """

    ours: list[float]
    trl: list[float]
    collect_seconds: float
    flops: dict[str, float]
    rate: float

    @property
    def trl_ratio(self) -> float:
        """TRL's seconds over ours: our iterations per second over TRL's."""
        return statistics.mean(self.trl) / statistics.mean(self.ours)

    @property
    def trl_ratio_without_collection(self) -> float:
        """The same, had TRL not called the garbage collector."""
        return (statistics.mean(self.trl) - self.collect_seconds) / statistics.mean(self.ours)

    @property
    def floor_seconds(self) -> float:
        """Seconds that the counted operations take at the measured rate."""
        return sum(self.flops.values()) / self.rate

    @property
    def floor_ratio(self) -> float:
        """Our seconds over the floor."""
        return statistics.mean(self.ours) / self.floor_seconds


@dataclass
class Measurement:
    """Everything that one run of the benchmark found."""

    common: Common
    blocks: list[Block] = field(default_factory=list)
    phases: dict[str, Spread] = field(default_factory=dict)
    gold_seconds: float = 0.0
    response_tokens: dict[str, float] = field(default_factory=dict)
    peak_mebibytes: dict[str, float] = field(default_factory=dict)

    def spread(self, value: Callable[[Block], float]) -> Spread:
        """Summarise one number of every block."""
        return Spread.of([value(block) for block in self.blocks])

    def iterations(self, side: str) -> Spread:
        """Summarise the seconds per iteration of one side, "ours" or "trl"."""
        return Spread.of([seconds for block in self.blocks for seconds in getattr(block, side)])

    def floor(self, phase: str) -> float:
        """Return the floor of one phase in seconds, the median over blocks."""
        passes = PASSES[phase]
        return self.spread(lambda block: sum(block.flops[p] for p in passes) / block.rate).median

    def last_line(self) -> str:
        """Return the two ratios that a programme may read."""
        trl, floor = self.spread(lambda b: b.trl_ratio), self.spread(lambda b: b.floor_ratio)
        return f"trl_ratio={trl.median:.2f} floor_ratio={floor.median:.2f}"


def measure(
    common: Common, folder: Path, *, blocks: int, iterations: int, deadline: float
) -> Measurement:
    """Let both sides do blocks of iterations in turn.

    Args:
        common: what both sides load.
        folder: TRL's output folder; nothing is saved there.
        blocks: turns of each side at most.
        iterations: per block and side.
        deadline: `time.perf_counter()` after which no further block begins; one always does.
    Returns:
        the blocks, without peak memory.
    """
    from tests.benchmarks.trl_peer import Trl

    ours, trl = Ours(common), Trl(common, folder)
    result, shape = Measurement(common), model_shape(common)
    ours.block(1)
    trl.block(1)
    ours.phases.clear()
    ours.gold_seconds.clear()
    while len(result.blocks) < blocks and (not result.blocks or time.perf_counter() < deadline):
        result.blocks.append(_block(ours, trl, iterations, shape))
    for phase in PASSES:
        result.phases[phase] = Spread.of([lap[f"time/{phase}_seconds"] for lap in ours.phases])
    result.gold_seconds = statistics.median(ours.gold_seconds)
    for name, side in (("ours", ours), ("trl", trl)):
        result.response_tokens[name] = statistics.mean(side.response_tokens())
    return result


def _block(ours: Ours, trl: "Trl", iterations: int, shape: Shape) -> Block:
    """Let each side do iterations once; measure the machine before and after ours."""
    before = matrix_rate(shape.width)
    ours_seconds = ours.block(iterations)
    rate = (before + matrix_rate(shape.width)) / 2
    trl_seconds = trl.block(iterations)
    last = ours.lengths[-iterations * ours.common.size.prompts :]
    flops = {name: count / iterations for name, count in iteration_flops(shape, last).items()}
    return Block(ours_seconds, trl_seconds, trl.collect_seconds[-1], flops, rate)


def model_shape(common: Common) -> Shape:
    """Return what decides the operations per token of the common models."""
    size = common.size
    return Shape(size.width, size.layers, 4 * size.width, len(common.task.tokenizer))
