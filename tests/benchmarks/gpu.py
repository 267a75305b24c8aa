"""What a GPU makes of small policies: against TRL, by phase, and with several workers on one card.

`python -m tests.benchmarks.gpu` takes about ten minutes on whatever card there is and writes its part of
docs/benchmarks.md: one run against TRL 1.12.0 at width 64 in float32 and at width 768 in bf16, with the
seconds of each phase on clocks that wait for the card, and the trials per hour of 1, 2 and 4 workers
that share it. Without a GPU it says so and fails.
"""

import argparse
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.cases import GPU_CASES
from tests.benchmarks.page import Rows, markdown, show, write_part
from tests.benchmarks.ppo_speed import measured_apart, paragraphs

if TYPE_CHECKING:
    from ablations.study import Study

COMMAND = "python -m tests.benchmarks.gpu"
WORKERS = (1, 2, 4)
TRIALS, ITERATIONS = 8, 60
"""Of the study that workers share out: all counts of workers divide the trials."""


def main(arguments: list[str]) -> None:
    """Measure, print, and write the page.

    Raises:
        SystemExit: if there is no GPU.
    """
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    import torch

    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a GPU, and torch sees none")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore", FutureWarning)
    from ablations.study import load_study
    from tests.benchmarks.tracking_overhead import QUICKSTART, SMALL

    found = measured_apart(GPU_CASES)
    study = load_study(QUICKSTART, SMALL | {"ppo.iterations": ITERATIONS, "seeds": TRIALS})
    shared = sharing(study, WORKERS, "cuda")
    show(shared)
    what = f"`{COMMAND}` on {torch.cuda.get_device_name()}; memory is the card's."
    trials = (
        f"Workers that share the card, {TRIALS} trials of {ITERATIONS} iterations of the quickstart:"
    )
    write_part("gpu", [*paragraphs(what, found), trials, markdown(shared)])


def sharing(study: "Study", counts: Sequence[int], device: str) -> Rows:
    """Run a study with each number of workers, in a home folder of its own with the same models.

    Args:
        study: what to run.
        counts: of workers; the first is 1.
        device: "cpu" or "cuda"; all workers share it.
    """
    from ablations.runner import Options, prepare_only
    from tests.benchmarks.common import silence

    per_hour = {}
    with tempfile.TemporaryDirectory() as scratch, silence():
        prepared = Path(scratch, "prepared")
        prepare_only(study, prepared, Options(workers=1, threads=1, device=device))
        for workers in counts:
            home = Path(scratch, str(workers))
            shutil.copytree(prepared / "prepared", home / "prepared")
            seconds = trials_seconds(study, home, workers, device)
            per_hour[workers] = 3600 * len(study.seeds) * len(study.arms) / seconds
    rows: Rows = [("workers", "trials per hour", "times those of one")]
    return rows + [(str(n), f"{rate:.0f}", f"{rate / per_hour[1]:.2f}") for n, rate in per_hour.items()]


def trials_seconds(study: "Study", home: Path, workers: int, device: str) -> float:
    """Run a study; return the seconds from its first trial's start to its last one's end."""
    from ablations.launchers.local import Local, visible_gpus
    from ablations.opening import open_trials
    from ablations.runner import Options, ablate, begun

    launcher = Local(device=device, gpus=visible_gpus()[:1])
    options = Options(workers=workers, threads=1, device=device, launcher=launcher)
    ablate(study, home, options)
    with begun(study, home, options) as (folder, plan, _):
        done = open_trials(folder, plan).study.trials
    begins = [trial.datetime_start for trial in done if trial.datetime_start]
    ends = [trial.datetime_complete for trial in done if trial.datetime_complete]
    return (max(ends) - min(begins)).total_seconds()


if __name__ == "__main__":
    main(sys.argv[1:])
