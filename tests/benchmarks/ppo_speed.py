"""PPO iterations per second against TRL and against the arithmetic floor.

`python -m tests.benchmarks.ppo_speed` takes minutes and writes docs/benchmarks.md; `--quick` ends
within a minute and writes nothing. The last line is `trl_ratio=… floor_ratio=…`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

STARTED = time.perf_counter()
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
QUICK_SECONDS = 30.0
"""No block begins later than this in a quick run: the last one has to end within the minute."""


def main(arguments: list[str]) -> None:
    """Measure, print, and write the page after a full run at the default size."""
    options = _parse(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    warnings.simplefilter("ignore", FutureWarning)
    import torch

    from tests.benchmarks.common import Size, make_common
    from tests.benchmarks.measurement import measure
    from tests.benchmarks.peak_memory import peak_memory
    from tests.benchmarks.report import as_json, show, write_page
    from workbench.environment import keep_freed_memory

    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as in every worker; TRL, in the same process, has it too
    size = Size(width=options.width, layers=options.layers)
    blocks, iterations = (4, 3) if options.quick else (10, 5)
    deadline = STARTED + QUICK_SECONDS if options.quick else float("inf")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = make_common(size, folder)
        measured = measure(
            common, folder / "trl", blocks=blocks, iterations=iterations, deadline=deadline
        )
        for side in () if options.quick else ("ours", "trl"):
            measured.peak_mebibytes[side] = peak_memory(side, options.threads, size, folder)
    if options.json:
        print(json.dumps(as_json(measured)))
        return
    show(measured)
    if not options.quick and not arguments:
        write_page(measured, "python -m tests.benchmarks.ppo_speed", PAGE)
    print(measured.last_line())


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="end within a minute, write nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for both sides")
    parser.add_argument("--width", type=int, default=64, help="hidden size of all models")
    parser.add_argument("--layers", type=int, default=2, help="transformer blocks of all models")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
