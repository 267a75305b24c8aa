"""Peak memory of one side alone: `python -m tests.benchmarks.peak_memory ours` prints MiB."""

import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ITERATIONS = 3


def peak_memory(side: str, threads: int, size: dict[str, Any]) -> float:
    """Run one side in a process of its own and return its peak resident set in MiB.

    Args:
        side: "ours" or "trl".
        threads: of torch.
        size: fields of `Size`.
    Raises:
        subprocess.CalledProcessError: if that process fails.
    """
    options = [side, str(threads), *(f"{name}={value}" for name, value in size.items())]
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.peak_memory", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def main(side: str, threads: str, *fields: str) -> None:
    """Do a few iterations of one side and print the peak resident set in MiB."""
    import torch

    from tests.benchmarks.common import Size, make_common

    torch.set_num_threads(int(threads))
    given = {name: int(value) for name, _, value in (field.partition("=") for field in fields)}
    with tempfile.TemporaryDirectory() as folder:
        common = make_common(replace(Size(), **given), Path(folder))
        if side == "ours":
            from tests.benchmarks.ours import Ours

            Ours(common).block(ITERATIONS)
        else:
            from tests.benchmarks.trl_peer import Trl

            Trl(common, Path(folder) / "trl").block(ITERATIONS)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


if __name__ == "__main__":
    main(*sys.argv[1:])
