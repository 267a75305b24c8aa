"""Time and memory of the quickstart as a user runs it, and of its preparation alone.

`python -m tests.benchmarks.quickstart_time` runs `workbench prepare` and `workbench ablate` on
ablations/quickstart.yaml, each in a new home folder, and writes its part of docs/benchmarks.md.
What follows `--`, as in `-- --seeds 1 --iterations 10`, goes to `ablate`; then the page stays as it is.
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.page import Rows, described, machine, markdown, show, write_part

COMMAND = "python -m tests.benchmarks.quickstart_time"
STUDY = Path(__file__).parents[2] / "ablations" / "quickstart.yaml"
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Taken:
    """What one command took.

    Attributes:
        seconds: on the clock.
        peak_mebibytes: largest sum of the resident sets of all its processes at one time; pages that
            processes share count for each of them.
    """

    seconds: float
    peak_mebibytes: float


def main(arguments: list[str]) -> None:
    """Run both commands, print, and write the page if the quickstart was the whole one."""
    more = arguments[1:] if arguments[:1] == ["--"] else []
    if arguments and not more:
        sys.exit(f"options of `ablate` come behind --, got {' '.join(arguments)}")
    commands = (["prepare", str(STUDY)], ["ablate", str(STUDY), *more])
    rows: Rows = [("command", "seconds", "peak MiB of all processes")]
    for command in commands:
        with tempfile.TemporaryDirectory() as home:
            taken = run([sys.executable, "-m", "workbench.cli", *command, "--home", home])
        told = f"`workbench {command[0]} ablations/{' '.join([STUDY.name, *command[2:]])}`"
        rows.append((told, f"{taken.seconds:.0f}", f"{taken.peak_mebibytes:.0f}"))
        show([rows[0], rows[-1]])
    if not more:
        said = f"`{COMMAND}`, each in a new home folder."
        write_part("quickstart", [said, described(machine()), markdown(rows)])


def run(command: Sequence[str]) -> Taken:
    """Run a command to its end and watch the memory of all its processes.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    peak, is_over = [0.0], threading.Event()
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:

        def watch() -> None:
            while not is_over.wait(POLL_SECONDS):
                peak[0] = max(peak[0], resident_mebibytes(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        seconds = time.perf_counter() - start
        is_over.set()
        watcher.join()
    if status:
        raise subprocess.CalledProcessError(status, command)
    return Taken(seconds, peak[0])


def resident_mebibytes(process: int) -> float:
    """Add up the resident sets of a process and all its descendants; 0 if it has ended."""
    try:
        parent = psutil.Process(process)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_resident_bytes(member) for member in family) / 2**20


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    main(sys.argv[1:])
