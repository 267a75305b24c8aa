"""What a measurement looks like: tables on the terminal, JSON, and the page in docs/."""

import datetime
import os
import platform
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks.measurement import PASSES, Measurement, Spread

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
"""What lies between these lines of the page is written by the full run; the rest by hand."""
PACKAGES = ("torch", "transformers", "trl", "accelerate")
RATIOS = {
    "trl_ratio": "TRL ratio: workbench over TRL in iterations per second",
    "trl_ratio_without_collection": "TRL ratio, had TRL not collected garbage",
    "floor_ratio": "floor ratio: workbench over floor in seconds",
}

Rows = list[tuple[str, ...]]


def machine() -> dict[str, Any]:
    """Describe the hardware and the software of this run."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "commit": commit or "unknown",
        "date": datetime.date.today().isoformat(),
    }


def comparison(measured: Measurement) -> Rows:
    """Compare the two sides and the floor."""
    floor = measured.spread(lambda block: block.floor_seconds)
    collect = measured.spread(lambda block: block.collect_seconds)
    rows: Rows = [("", "median", "min to max")]
    for title, seconds in (
        ("workbench, seconds per iteration", measured.iterations("ours")),
        ("TRL, seconds per iteration", measured.iterations("trl")),
        ("… of which garbage collection", collect),
        ("arithmetic floor, seconds per iteration", floor),
    ):
        rows.append((title, f"{seconds.median:.3f}", _range(seconds, 3)))
    for name, title in RATIOS.items():
        spread = measured.spread(attrgetter(name))
        rows.append((title, f"{spread.median:.2f}", _range(spread, 2)))
    rate = measured.spread(lambda block: block.rate / 1e9)
    flops = measured.spread(lambda block: sum(block.flops.values()) / 1e9)
    rows.append(("matrix products, GFLOP/s", f"{rate.median:.0f}", _range(rate, 0)))
    rows.append(("counted operations, GFLOP per iteration", f"{flops.median:.2f}", _range(flops, 2)))
    for side, title in (("ours", "workbench"), ("trl", "TRL")):
        rows.append((f"{title}, mean response tokens", f"{measured.response_tokens[side]:.2f}", ""))
        if side in measured.peak_mebibytes:
            rows.append((f"{title}, peak MiB alone", f"{measured.peak_mebibytes[side]:.0f}", ""))
    return rows


def profile(measured: Measurement) -> Rows:
    """Say where the workbench's iteration spends its time."""
    total = measured.iterations("ours").median
    rows: Rows = [("phase", "seconds", "min to max", "share", "floor")]
    for phase in PASSES:
        spread, floor = measured.phases[phase], measured.floor(phase)
        share = f"{spread.median / total:.0%}"
        rows.append((phase, f"{spread.median:.4f}", _range(spread, 4), share, f"{floor:.4f}"))
    rows.append(("gold judge, not counted", f"{measured.gold_seconds:.4f}", "", "", ""))
    return rows


def show(measured: Measurement) -> None:
    """Print both tables."""
    console = Console(width=100)
    facts = machine()
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)
    for title, rows in (("Comparison", comparison(measured)), ("Profile", profile(measured))):
        table = Table(*rows[0], title=title)
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)


def as_json(measured: Measurement) -> dict[str, Any]:
    """Return everything as plain numbers."""
    return {
        "machine": machine(),
        "size": asdict(measured.common.size),
        **{name: asdict(measured.spread(attrgetter(name))) for name in RATIOS},
        "response_tokens": measured.response_tokens,
        "peak_mebibytes": measured.peak_mebibytes,
        "phases": {phase: asdict(spread) for phase, spread in measured.phases.items()},
        "gold_seconds": measured.gold_seconds,
        "blocks": [asdict(block) for block in measured.blocks],
    }


def write_page(measured: Measurement, command: str, page: Path) -> None:
    """Replace the measured part of the page, and leave the part written by hand.

    Raises:
        ValueError: if the page lacks the two lines that enclose the measured part.
    """
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{page} must have the lines {BEGIN} and {END}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    facts = machine()
    size = ", ".join(f"{name} {value}" for name, value in asdict(measured.common.size).items())
    blocks, iterations = len(measured.blocks), len(measured.blocks[0].ours)
    measured_part = "\n\n".join(
        [
            f"`{command}`, {blocks} blocks of {iterations} iterations a side; {size}.",
            ", ".join(f"{name} {value}" for name, value in facts.items()) + ".",
            _markdown(comparison(measured)),
            _markdown(profile(measured)),
        ]
    )
    page.write_text(f"{before}{BEGIN}\n{measured_part}\n{END}{after}")


def _markdown(rows: Rows) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" + "--:|" * (len(rows[0]) - 1), *lines[1:]])


def _range(spread: Spread, digits: int) -> str:
    return f"{spread.low:.{digits}f} to {spread.high:.{digits}f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
