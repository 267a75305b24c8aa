"""Trials per hour of two workers against one, on models of the quickstart's size.

`python -m tests.benchmarks.workers` runs the same study with one worker and with two, in turn, each in
a new home folder that shares the prepared models. Counted is the time from the first trial's start to
the last one's end. The last line is `speedup=…`, median and range over pairs.
"""

import argparse
import os
import shutil
import tempfile
import warnings
from pathlib import Path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="of studies, one worker and two")
    parser.add_argument("--trials", type=int, default=8, help="per study")
    parser.add_argument("--iterations", type=int, default=60, help="per trial")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore", FutureWarning)
    from ablations.runner import Options, prepare_only
    from ablations.study_files import load_study
    from tests.benchmarks.common import silence
    from tests.benchmarks.gpu import trials_seconds
    from tests.benchmarks.tracking_overhead import QUICKSTART, SMALL, spread, told

    changes = SMALL | {"ppo.iterations": given.iterations, "seeds": given.trials}
    study = load_study(QUICKSTART, changes)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as scratch, silence():
        prepared = Path(scratch, "prepared")
        prepare_only(study, prepared, Options(workers=1, threads=1))
        for pair in range(given.pairs):
            for workers in (1, 2) if pair % 2 else (2, 1):
                home = Path(scratch, f"{pair}-{workers}")
                shutil.copytree(prepared / "prepared", home / "prepared")
                seconds[workers].append(trials_seconds(study, home, workers, "cpu"))
    print(f"{given.pairs} studies of {given.trials} trials of {given.iterations} iterations each")
    for workers, measured in seconds.items():
        print(f"{workers} worker(s): {told(spread(measured), '.1f')} s")
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    print(f"speedup={told(spread(ratios), '.2f')}")


if __name__ == "__main__":
    main()
