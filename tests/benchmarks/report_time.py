"""What the report of a study of 15.5 million points takes, in time and memory.

`python -m tests.benchmarks.report_time FOLDER` writes the study into the folder if it is not there yet
(minutes, 4 GB), then in a process of its own the report, and prints seconds and the peak resident set.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.large_store import large_plan, write_large_store


def main(folder: Path) -> None:
    """Write the store if need be, and measure the report in a fresh process."""
    if not (folder / "mlflow.db").exists():
        write_large_store(large_plan(), folder)
    command = [sys.executable, "-m", "tests.benchmarks.report_time", "--measure", str(folder)]
    subprocess.run(command, check=True)


def measure(folder: Path) -> None:
    """Publish the report, as `workbench report` does, and say what it took."""
    from analysis.publish import publish

    begin = time.perf_counter()
    publish(large_plan().name, f"sqlite:///{folder.resolve() / 'mlflow.db'}", folder / "report")
    seconds = time.perf_counter() - begin
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kibibytes elsewhere
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    cpu = time.process_time()
    print(f"{seconds:.0f} s wall clock, {cpu:.0f} s of CPU, {mebibytes:.0f} MiB at the peak")


if __name__ == "__main__":
    measure(Path(sys.argv[2])) if sys.argv[1] == "--measure" else main(Path(sys.argv[1]))
