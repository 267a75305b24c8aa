"""Peak memory of one side alone: `python -m tests.benchmarks.peak_memory ours …` prints MiB."""

import json
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch

from tests.benchmarks.cases import Case
from tests.benchmarks.common import load_common

ITERATIONS = 3


def peak_memories(case: Case, folder: Path) -> dict[str, float]:
    """Run both sides, each in a process of its own, at the same time: memory does not mind.

    Returns:
        peak of "ours" and "trl" in MiB.
    """
    with ThreadPoolExecutor() as pool:
        started = {side: pool.submit(peak_memory, side, case, folder) for side in ("ours", "trl")}
        return {side: peak.result() for side, peak in started.items()}


def peak_memory(side: str, case: Case, folder: Path) -> float:
    """Run one side in a process of its own and return its peak memory in MiB.

    Args:
        side: "ours" or "trl".
        case: what to run.
        folder: where `make_common` has left the models.
    Returns:
        the resident set; on a GPU what torch allocated there.
    Raises:
        subprocess.CalledProcessError: if that process fails.
    """
    options = [side, json.dumps(asdict(case)), str(folder)]
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.peak_memory", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def main(side: str, data: str, folder: str) -> None:
    """Do a few iterations of one side and print the peak in MiB."""
    case = Case.of(json.loads(data))
    torch.set_num_threads(case.threads)
    common = load_common(case.size, Path(folder))
    iterations = min(ITERATIONS, case.iterations)
    if side == "ours":
        from tests.benchmarks.ours import Ours

        Ours(common, case.place).block(iterations)
    else:
        from tests.benchmarks.trl_peer import Trl

        Trl(common, Path(folder) / "trl", case.place).block(iterations)
    is_on_gpu = case.place.device == "cuda"
    print(torch.cuda.max_memory_allocated() / 2**20 if is_on_gpu else own_peak())


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
