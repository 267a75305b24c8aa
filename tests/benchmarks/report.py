"""What the comparison with TRL looks like: two tables with a row per case, and JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from tests.benchmarks.measurement import PASSES, Measurement, Spread
from tests.benchmarks.page import Rows, machine

RATIOS = ("trl_ratio", "trl_ratio_without_collection", "floor_ratio", "floor_ratio_of_fastest")


def comparison(measurements: Sequence[Measurement]) -> Rows:
    """Compare the two sides and the floor: median, and range in brackets."""
    rows: Rows = [
        (
            "case", "workbench, seconds per iteration", "TRL, seconds per iteration", "TRL ratio",
            "TRL ratio without TRL's garbage collection", "floor ratio",
            "floor ratio by the fastest kernel", "peak MiB: workbench, TRL",
            "tokens per response: workbench, TRL", "iterations of each",
        )
    ]  # fmt: skip
    for measured in measurements:
        sides = ("ours", "trl")
        rows.append(
            (
                f"`{measured.case.name}`",
                *(told(measured.iterations(side), 3) for side in sides),
                *(told(measured.spread(attrgetter(ratio)), 2) for ratio in RATIOS),
                ", ".join(f"{measured.peak_mebibytes[side]:.0f}" for side in sides)
                if measured.peak_mebibytes
                else "not measured",
                ", ".join(f"{measured.response_tokens[side]:.1f}" for side in sides),
                f"{sum(len(block.ours) for block in measured.blocks)}",
            )
        )
    return rows


def profile(measurements: Sequence[Measurement]) -> Rows:
    """Say where the workbench's iteration spends its time, and what the floor is made of."""
    floors = [phase for phase, passes in PASSES.items() if passes]
    rows: Rows = [
        (
            "case",
            *PASSES,
            *(f"floor of {phase}" for phase in floors),
            "GFLOP",
            "GFLOP/s by kernel",
            "gold judge",
        )
    ]
    for measured in measurements:
        total = measured.iterations("ours").median
        flops = measured.spread(lambda block: sum(block.flops.values()) / 1e9)
        gold = measured.gold_seconds
        rows.append(
            (
                f"`{measured.case.name}`",
                *(_share(measured.phases[phase].median, total) for phase in PASSES),
                *(f"{measured.floor(phase):.4f}" for phase in floors),
                f"{flops.median:.3g}",
                ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in measured.rates().items()),
                "" if gold is None else f"{gold:.4f}",
            )
        )
    return rows


def as_json(measured: Measurement) -> dict[str, Any]:
    """Return everything as plain numbers; `Measurement.from_json` reads it."""
    ratios = {name: asdict(measured.spread(attrgetter(name))) for name in RATIOS}
    return {"machine": machine(), **ratios, **asdict(measured)}


def told(spread: Spread, digits: int) -> str:
    """Write down median and range."""
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


def _share(seconds: float, total: float) -> str:
    return f"{seconds:.4f} ({seconds / total:.0%})"
