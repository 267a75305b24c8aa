"""PPO iterations per second against TRL and against the arithmetic floor.

`python -m tests.benchmarks.ppo_speed` takes about ten minutes: every case, each in a process of its
own, then it writes its part of docs/benchmarks.md. `--case NAME` does one case, `--quick` ends within
a minute; both write nothing. The last line is `trl_ratio=… floor_ratio=… floor_ratio_of_fastest=…`,
where all are run that of the default case.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.cases import BLOCKS, CASES, DEFAULT, GPU_CASES, Case
from tests.benchmarks.page import described, machine, markdown, show, write_part

if TYPE_CHECKING:
    from tests.benchmarks.measurement import Measurement

COMMAND = "python -m tests.benchmarks.ppo_speed"
QUICK_BLOCKS, QUICK_SECONDS = 4, 15.0
"""A quick run has to end within the minute, imports and start policy included."""


def main(arguments: list[str]) -> None:
    """Measure, print, and write the page where every case was measured."""
    options = _parse(arguments)
    case = (CASES | GPU_CASES)[options.case or DEFAULT]
    if options.json:
        from tests.benchmarks.report import as_json

        print(json.dumps(as_json(measure_here(case, Path(options.json), is_quick=options.quick))))
    elif options.quick:
        with tempfile.TemporaryDirectory() as folder:
            measured = measure_here(case, Path(folder), is_quick=True)
        _show(measured)
        print(measured.last_line())
    elif options.case:
        print(measured_apart([case.name])[0].last_line())
    else:
        found = measured_apart(CASES)
        limits = f"blocks in turn until {case.seconds:.0f} s are over, {BLOCKS} at most"
        write_part("ppo_speed", paragraphs(f"`{COMMAND}`: {limits}.", found))
        print(next(measured.last_line() for measured in found if measured.case == case))


def measured_apart(names: Iterable[str]) -> "list[Measurement]":
    """Measure cases in a process of its own each, then the memory of each side, and print."""
    from tests.benchmarks.measurement import Measurement
    from tests.benchmarks.peak_memory import peak_memories

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            options = ["--case", name, "--json", folder]
            command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.ppo_speed", *options]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured = Measurement.from_json(json.loads(done.stdout.splitlines()[-1]))
            measured.peak_mebibytes = peak_memories(measured.case, Path(folder, measured.case.model))
            found.append(measured)
            _show(measured)
    return found


def paragraphs(what: str, found: "list[Measurement]") -> list[str]:
    """Return what the page says of measurements: what was done, on what, and both tables."""
    from tests.benchmarks.report import comparison, profile

    said = f"{what} Median, and range in brackets."
    return [said, described(machine()), markdown(comparison(found)), markdown(profile(found))]


def measure_here(case: Case, folder: Path, *, is_quick: bool) -> "Measurement":
    """Measure a case in this process, without peak memory.

    Args:
        case: what to measure.
        folder: gets the start models, one folder per size, and keeps those that it has.
        is_quick: within a minute.
    """
    os.environ["OMP_NUM_THREADS"] = str(case.threads)  # before torch is there
    warnings.simplefilter("ignore", FutureWarning)
    import torch

    from tests.benchmarks.common import make_common
    from tests.benchmarks.measurement import measure
    from workbench.environment import keep_freed_memory

    torch.set_num_threads(case.threads)
    keep_freed_memory()  # as in every worker; TRL, in the same process, has it too
    blocks, seconds = (QUICK_BLOCKS, QUICK_SECONDS) if is_quick else (BLOCKS, case.seconds)
    common = make_common(case.size, folder / case.model, case.place)
    return measure(case, common, folder / "trl", blocks=blocks, seconds=seconds)


def _show(measured: "Measurement") -> None:
    from tests.benchmarks.report import comparison, profile

    show(comparison([measured]))
    show(profile([measured]))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES | GPU_CASES, help="do this case only, write nothing")
    parser.add_argument("--quick", action="store_true", help="end within a minute, write nothing")
    parser.add_argument(
        "--json", metavar="FOLDER",
        help="do the case in this process, with the start models in FOLDER, and print one JSON object",
    )  # fmt: skip
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
