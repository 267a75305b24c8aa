"""One worker process: claim a cell, train it, write down how it ended; until the queue is empty."""

import ctypes
import math
import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ablations.designs import Cell
from ablations.folder import StudyFolder, find_study
from ablations.locks import write_whole
from ablations.trials import Claim, Trials
from workbench.checkpoint import CheckpointError
from workbench.environment import settle_process
from workbench.errors import one_sentence
from workbench.monitors import CAP
from workbench.progress import listening
from workbench.tasks import make_task
from workbench.tracking import RunLog, TrackingError
from workbench.train_one import save_policy
from workbench.training import Interrupted, Result, Run, make_accelerator

STOPPED = 3
"""Exit status of a worker that could not go on although no trial failed; its last line says why."""
REPORT_SECONDS = 0.5
PARENT_SECONDS = 1.0


@dataclass
class Stop:
    """Whether this process was asked to stop, by a signal or by the end of its parent."""

    is_asked: bool = False

    def listen(self, parent: int | None) -> None:
        """Listen to Ctrl-C, to SIGTERM, and to the parent's end if there is a parent to look after.

        Args:
            parent: process id of the parent; None for a worker that somebody started by hand.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(self, "is_asked", True))
        if parent is None:
            return
        if sys.platform == "linux":
            set_parent_death_signal = 1
            ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
        threading.Thread(target=self._watch, args=(parent,), daemon=True).start()

    def _watch(self, parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        self.is_asked = True


@dataclass
class Reporter:
    """Writes how far a cell has come to a small file, at most twice a second.

    Attributes:
        folder: of the study.
        cell: what is trained.
        iterations: of a whole run; `track` counts those that are left after a checkpoint.
    """

    folder: StudyFolder
    cell: Cell
    iterations: int
    last: float = field(default=-math.inf, init=False)

    def __call__(self, done: int, total: int, title: str) -> None:
        """Take a report of `workbench.progress.track`."""
        now = time.monotonic()
        if done == total or now - self.last > REPORT_SECONDS:
            self.last = now
            reached = self.iterations - total + done
            write_whole(self.folder.progress(self.cell), {"done": reached, "process": os.getpid()})


def work(folder: StudyFolder, stop: Stop) -> int:
    """Train cells until none is waiting.

    Args:
        folder: of the study.
        stop: asked after every iteration.
    Returns:
        exit status: 0, or `STOPPED` if the disk or the MLflow store made it give up.
    """
    plan, prepared = folder.plan(), folder.read_prepared()
    if prepared is None:
        raise FileNotFoundError(f"study {folder.name} is not prepared; run `workbench ablate` first")
    torch.set_num_threads(plan.threads)
    accelerator = make_accelerator(plan.device)
    task, trials, store = make_task(plan.study.task), Trials(folder, plan), folder.store(plan)
    experiment = store.create_experiment(folder.name)
    while not stop.is_asked and (claim := trials.claim()):
        cell = claim.cell
        run = Run(task, cell.recipe, plan.study.ppo, prepared, cell.seed, folder.cell(cell), accelerator)
        tags = {"optuna_trial": str(claim.trial.number), "settings_hash": plan.settings_hash}
        log = RunLog(store, experiment, cell.arm, run, tags)
        status = _train(claim, log, trials, stop)
        if status:
            return status
    return 0


def _train(claim: Claim, log: RunLog, trials: Trials, stop: Stop) -> int:
    """Train one cell and tell Optuna how it ended; a run that fails leaves the others alone."""
    report = Reporter(trials.folder, claim.cell, log.run.settings.iterations)
    try:
        with listening(report):
            run_id, result = log.train(lambda: stop.is_asked)
        save_policy(log.run)
    except Interrupted:
        trials.give_back(claim)
        return 0
    except (TrackingError, CheckpointError) as error:
        trials.give_back(claim)
        print(one_sentence(error), file=sys.stderr)
        return STOPPED
    except Exception as error:
        trials.fail(claim, one_sentence(error))
        return 0
    outcome = "collapsed" if result.collapse else "ok"
    trials.complete(claim, objective(result), {"run_id": run_id, "outcome": outcome})
    for checkpoint in trials.folder.cell(claim.cell).glob("checkpoint-*.safetensors"):
        checkpoint.unlink()
    return 0


def objective(result: Result) -> float:
    """Return what Optuna maximises: the final gold score, or win rate; finite even after a collapse."""
    final = result.final
    value = final.get("final/gold", final["final/win_rate"])
    return value if math.isfinite(value) else -CAP


def main() -> int:
    """Run a worker for the study in a home folder, as a child of `workbench ablate`."""
    parser = ArgumentParser(description=main.__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("study")
    parser.add_argument("--parent", type=int, help="process to end with")
    given = parser.parse_args()
    stop = Stop()
    stop.listen(given.parent)
    settle_process()
    return work(find_study(given.home, given.study), stop)


if __name__ == "__main__":
    sys.exit(main())
