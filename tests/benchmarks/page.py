"""The measured parts of docs/benchmarks.md: written by the benchmarks, between two marks each."""

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PACKAGES = ("torch", "transformers", "trl", "accelerate")

Rows = list[tuple[str, ...]]
"""A table: its heading, then its rows."""


def marks(part: str) -> tuple[str, str]:
    """Return the lines that enclose a measured part of the page; all else is written by hand."""
    return f"<!-- {part}: begin -->", f"<!-- {part}: end -->"


def write_part(part: str, paragraphs: list[str], page: Path = PAGE) -> None:
    """Replace one measured part of the page, and leave the rest.

    Raises:
        ValueError: if the page lacks the two lines that enclose the part.
    """
    text, (begin, end) = page.read_text(), marks(part)
    if begin not in text or end not in text:
        raise ValueError(f"{page} must have the lines {begin} and {end}")
    before, after = text.split(begin)[0], text.split(end)[1]
    page.write_text(
        "\n\n".join([f"{before}{begin}\n{paragraphs[0]}", *paragraphs[1:]]) + f"\n{end}{after}"
    )


def markdown(rows: Rows) -> str:
    """Write a table; all columns but the first are numbers."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---|" + "--:|" * (len(rows[0]) - 1), *lines[1:]])


def show(rows: Rows) -> None:
    """Print a table with a line per value, row by row, as its heading is too wide for a terminal."""
    width = max(map(len, rows[0]))
    for row in rows[1:]:
        for title, value in zip(rows[0], row, strict=True):
            print(f"{title:<{width}}  {value}")
        print(flush=True)


def machine() -> dict[str, Any]:
    """Describe the hardware and the software."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "commit": commit or "unknown",
        "date": datetime.date.today().isoformat(),
    }


def described(facts: dict[str, Any]) -> str:
    """Put what `machine` says into a sentence."""
    return ", ".join(f"{name} {value}" for name, value in facts.items()) + "."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
