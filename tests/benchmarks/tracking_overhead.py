"""What MLflow and Optuna cost a trial: the worker's trial against the same run with nothing around it.

`python -m tests.benchmarks.tracking_overhead` takes minutes; `--quick` about one. The last line has
shares of the bare trial's time, median and range: `cpu_share` and `wall_share` are the additional time
of the tracked trial, `uploader_share` is the processor time of the thread that talks to MLflow, which
is nearly all of the former and hardly suffers from what else the machine does.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from ablations.study import Study
    from tests.benchmarks.measurement import Spread
    from workbench.checkpoint import Record

QUICKSTART = Path(__file__).parents[2] / "ablations" / "quickstart.yaml"
SMALL: dict[str, Any] = {
    "arms": {"vanilla": "vanilla"},
    "prepare.pretrain.steps": 60,
    "prepare.sft.steps": 120,
    "prepare.reward_model.epochs": 1,
}
"""One arm of the quickstart, with models of its size that are quickly made."""


@dataclass(frozen=True)
class Cost:
    """What one trial took.

    Attributes:
        cpu_seconds: of all threads of this process.
        wall_seconds: on the clock.
        uploader_seconds: processor time of the uploader's thread, part of `cpu_seconds`.
    """

    cpu_seconds: float
    wall_seconds: float
    uploader_seconds: float


@dataclass(frozen=True)
class Pair:
    """The same trial with tracking and Optuna, and without."""

    tracked: Cost
    bare: Cost

    def shares(self) -> dict[str, float]:
        """Return what tracking costs, as shares of the bare trial's time."""
        tracked, bare = self.tracked, self.bare
        return {
            "cpu_share": tracked.cpu_seconds / bare.cpu_seconds - 1,
            "wall_share": tracked.wall_seconds / bare.wall_seconds - 1,
            "uploader_share": tracked.uploader_seconds / bare.cpu_seconds,
        }


class NoTracker:
    """Forgets every record."""

    def log(self, records: "Sequence[Record]") -> None:
        """Forget them."""


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two blocks of ten iterations")
    parser.add_argument("--iterations", type=int, default=150, help="of a trial; the quickstart has 150")
    parser.add_argument("--blocks", type=int, default=5, help="pairs of trials")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore", FutureWarning)
    from ablations.study_files import load_study
    from tests.benchmarks.common import silence

    blocks, iterations = (2, 10) if options.quick else (options.blocks, options.iterations)
    study = load_study(QUICKSTART, SMALL | {"ppo.iterations": iterations})
    with tempfile.TemporaryDirectory() as home, silence():
        pairs = measure(study, Path(home), blocks)
    print(f"{blocks} blocks of {iterations} iterations with and without, in turn; one thread")
    for kind in ("cpu_seconds", "wall_seconds"):
        bare = spread([getattr(pair.bare, kind) for pair in pairs])
        tracked = spread([getattr(pair.tracked, kind) for pair in pairs])
        print(f"{kind}: {told(bare, '.2f')} without, {told(tracked, '.2f')} with")
    shares = [pair.shares() for pair in pairs]
    found = {name: spread([share[name] for share in shares]) for name in shares[0]}
    print(" ".join(f"{name}={told(values, '.1%')}" for name, values in found.items()))


def measure(study: "Study", home: Path, blocks: int) -> "list[Pair]":
    """Run a study's only arm with one new seed per block, with everything around it and without.

    Args:
        study: what to run; its seeds do not matter.
        home: an empty folder.
        blocks: pairs of trials; one more comes first and does not count.
    """
    pairs = []
    for seed in range(blocks + 1):
        grown = study.model_copy(update={"seeds": list(range(seed + 1))})
        if seed % 2:
            bare, tracked = timed(bare_trial(grown, home)), timed(tracked_trial(grown, home))
        else:  # the first: it prepares the models
            tracked, bare = timed(tracked_trial(grown, home)), timed(bare_trial(grown, home))
        pairs.append(Pair(tracked, bare))
    return pairs[1:]


def tracked_trial(study: "Study", home: Path) -> Callable[[], object]:
    """Prepare the trial with the last seed; the worker does it, as in `workbench ablate`."""
    from ablations.liveness import Stop
    from ablations.opening import open_trials
    from ablations.runner import Options, begun, prepare_study
    from ablations.worker import work

    with begun(study, home, Options(workers=os.cpu_count() or 1)) as (folder, plan, task):
        prepare_study(folder, plan, task)
        open_trials(folder, plan).enqueue("missing")
    return lambda: work(folder, Stop())


def bare_trial(study: "Study", home: Path) -> Callable[[], object]:
    """Prepare the same run with nothing around it but what a worker has to do anyway."""
    from ablations.folder import find_study
    from workbench.device import make_accelerator
    from workbench.tasks import make_task
    from workbench.train_one import save_policy
    from workbench.training import Run

    def train() -> None:
        folder = find_study(home, study.name)
        prepared = folder.read_prepared()
        assert prepared, "the tracked trial comes first and prepares the models"
        [recipe] = study.recipes.values()
        task, place = make_task(study.task), home / "bare" / str(study.seeds[-1])
        run = Run(task, recipe, study.ppo, prepared, study.seeds[-1], place, make_accelerator("auto"))
        run.train(NoTracker())
        save_policy(run)

    return train


def timed(act: Callable[[], object]) -> Cost:
    """Do something and take its time."""
    from workbench.tracking.uploader import Uploader

    work, uploading = Uploader._work, [0.0]

    def clocked(uploader: Uploader) -> None:
        work(uploader)
        uploading.append(time.thread_time())  # of a new thread: all it took

    with patch.object(Uploader, "_work", clocked):
        cpu, wall = time.process_time(), time.perf_counter()
        act()
        return Cost(time.process_time() - cpu, time.perf_counter() - wall, sum(uploading))


def spread(values: Sequence[float]) -> "Spread":
    """Summarise at least one value."""
    from tests.benchmarks.measurement import Spread

    return Spread.of(values)


def told(values: "Spread", form: str) -> str:
    """Write down median and range."""
    return f"{values.median:{form}} [{values.low:{form}}, {values.high:{form}}]"


if __name__ == "__main__":
    main(sys.argv[1:])
