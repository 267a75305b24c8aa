"""Peak memory of one side alone: `python -m tests.benchmarks.peak_memory ours` prints MiB."""

import json
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from tests.benchmarks.common import Size, load_common

ITERATIONS = 3


def peak_memory(side: str, threads: int, size: Size, folder: Path) -> float:
    """Run one side in a process of its own and return its peak resident set in MiB.

    Args:
        side: "ours" or "trl".
        threads: of torch.
        size: of models and iteration.
        folder: where `make_common` has left the models.
    Raises:
        subprocess.CalledProcessError: if that process fails.
    """
    options = [side, str(threads), json.dumps(asdict(size)), str(folder)]
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.peak_memory", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def main(side: str, threads: str, size: str, folder: str) -> None:
    """Do a few iterations of one side and print the peak resident set in MiB."""
    torch.set_num_threads(int(threads))
    common = load_common(Size(**json.loads(size)), Path(folder))
    if side == "ours":
        from tests.benchmarks.ours import Ours

        Ours(common).block(ITERATIONS)
    else:
        from tests.benchmarks.trl_peer import Trl

        Trl(common, Path(folder) / "trl").block(ITERATIONS)
    print(own_peak())


def own_peak() -> float:
    """Read the kernel's high-water mark of this programme.

    Linux's `ru_maxrss` would do elsewhere, but it outlives exec: a child starts at its parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:"))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main(*sys.argv[1:])
