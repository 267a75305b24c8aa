"""Blocks of iterations of both sides in turn, and what they say together."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.cases import Case
from tests.benchmarks.common import Common
from tests.benchmarks.floor import Shape, iteration_flops, matrix_rates
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
        rates: operations per second of a matrix product, by kernel.
    """

    ours: list[float]
    trl: list[float]
    collect_seconds: float
    flops: dict[str, float]
    rates: dict[str, float]

    @property
    def trl_ratio(self) -> float:
        """TRL's seconds over ours: our iterations per second over TRL's."""
        return statistics.mean(self.trl) / statistics.mean(self.ours)

    @property
    def trl_ratio_without_collection(self) -> float:
        """The same, had TRL not called the garbage collector."""
        return (statistics.mean(self.trl) - self.collect_seconds) / statistics.mean(self.ours)

    @property
    def rate(self) -> float:
        """Operations per second of the fastest kernel."""
        return max(self.rates.values())

    @property
    def floor_seconds(self) -> float:
        """Seconds that the counted operations take at the rate of `torch.mm`."""
        return sum(self.flops.values()) / self.rates["torch.mm"]

    @property
    def floor_ratio(self) -> float:
        """Our seconds over the floor."""
        return statistics.mean(self.ours) / self.floor_seconds

    @property
    def floor_ratio_of_fastest(self) -> float:
        """The same with the floor at the rate of the fastest kernel, which wide models are given to."""
        return self.floor_ratio * self.rate / self.rates["torch.mm"]


@dataclass
class Measurement:
    """Everything that one run of a case found.

    Attributes:
        case: what was run.
        blocks: in turn.
        phases: seconds of each phase of the workbench's iterations.
        gold_seconds: of the gold judge per iteration; None where it does not know the vocabulary.
        response_tokens: mean of each side, "ours" and "trl".
        peak_mebibytes: resident set of each side alone; empty if not measured.
    """

    case: Case
    blocks: list[Block] = field(default_factory=list)
    phases: dict[str, Spread] = field(default_factory=dict)
    gold_seconds: float | None = None
    response_tokens: dict[str, float] = field(default_factory=dict)
    peak_mebibytes: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Measurement":
        """Read what `report.as_json` has written."""
        own = {name: data[name] for name in (f.name for f in fields(cls))}
        blocks = [Block(**block) for block in own.pop("blocks")]
        phases = {phase: Spread(**spread) for phase, spread in own.pop("phases").items()}
        return cls(Case.of(own.pop("case")), blocks, phases, **own)

    def spread(self, value: Callable[[Block], float]) -> Spread:
        """Summarise one number of every block."""
        return Spread.of([value(block) for block in self.blocks])

    def iterations(self, side: str) -> Spread:
        """Summarise the seconds per iteration of one side, "ours" or "trl"."""
        return Spread.of([seconds for block in self.blocks for seconds in getattr(block, side)])

    def floor(self, phase: str) -> float:
        """Return the floor of one phase in seconds by the fastest kernel, the median over blocks."""
        passes = PASSES[phase]
        return self.spread(lambda block: sum(block.flops[p] for p in passes) / block.rate).median

    def rates(self) -> dict[str, float]:
        """Return the operations per second of each kernel, the median over blocks."""
        return {
            kernel: statistics.median(block.rates[kernel] for block in self.blocks)
            for kernel in self.blocks[0].rates
        }

    def last_line(self) -> str:
        """Return the ratios that a programme may read."""
        names = ("trl_ratio", "floor_ratio", "floor_ratio_of_fastest")
        return " ".join(f"{name}={self.spread(attrgetter(name)).median:.2f}" for name in names)


def measure(case: Case, common: Common, folder: Path, *, blocks: int, seconds: float) -> Measurement:
    """Let both sides do blocks of iterations in turn.

    Args:
        case: what is measured; its iterations are those of a block and side.
        common: what both sides load.
        folder: TRL's output folder; nothing is saved there.
        blocks: turns of each side at most.
        seconds: after which no further block begins; one always does.
    Returns:
        the blocks, without peak memory.
    """
    from tests.benchmarks.trl_peer import Trl

    ours, trl = Ours(common, case.place), Trl(common, folder, case.place)
    result, shape = Measurement(case), model_shape(common)
    ours.block(1)
    trl.block(1)
    ours.forget()
    deadline = time.perf_counter() + seconds
    while len(result.blocks) < blocks and (not result.blocks or time.perf_counter() < deadline):
        result.blocks.append(_block(ours, trl, case, shape))
    for phase in PASSES:
        result.phases[phase] = Spread.of([lap[f"time/{phase}_seconds"] for lap in ours.phases])
    if ours.gold_seconds:
        result.gold_seconds = statistics.median(ours.gold_seconds)
    for name, side in (("ours", ours), ("trl", trl)):
        result.response_tokens[name] = statistics.mean(side.response_tokens())
    return result


def _block(ours: Ours, trl: "Trl", case: Case, shape: Shape) -> Block:
    """Let each side do iterations once; measure the machine before and after ours."""
    before = matrix_rates(shape.width, place=case.place)
    ours_seconds = ours.block(case.iterations)
    after = matrix_rates(shape.width, place=case.place)
    rates = {kernel: (before[kernel] + after[kernel]) / 2 for kernel in before}
    trl_seconds = trl.block(case.iterations)
    last = ours.lengths[-case.iterations * case.size.prompts :]
    counted = iteration_flops(shape, last)
    flops = {name: count / case.iterations for name, count in counted.items()}
    return Block(ours_seconds, trl_seconds, trl.collect_seconds[-1], flops, rates)


def model_shape(common: Common) -> Shape:
    """Return what decides the operations per token of the common models."""
    size = common.size
    vocabulary = size.vocabulary or len(common.task.tokenizer)
    return Shape(size.width, size.layers, 4 * size.width, vocabulary)
