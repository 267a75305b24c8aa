"""One worker process: claim a cell, train it, write down how it ended; until nothing is left."""

import signal
import sys
import time
import traceback
from argparse import ArgumentParser
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from ablations.cells import Cell
from ablations.folder import StudyFolder, find_study
from ablations.liveness import Pulse, Stop, StopNow
from ablations.opening import open_trials
from ablations.plan import Plan, require_plan
from ablations.preparation import require_same_data
from ablations.processes import Process
from ablations.pruners import make_pruner
from ablations.records import Claim, Outcome
from ablations.storage import StorageError, patiently
from ablations.trials import Trials
from workbench.checkpoint import CheckpointError, last_iteration
from workbench.device import make_accelerator
from workbench.environment import settle_process
from workbench.errors import is_expected, one_sentence
from workbench.parallel import broadcast, is_main, leave, processes
from workbench.progress import listening
from workbench.stages.prepare import Prepared, prepare
from workbench.tasks import make_task
from workbench.tracking.run_log import RunLog
from workbench.tracking.store import default_store
from workbench.train_one import save_policy
from workbench.training import Interrupted, NoTracker, Run

STOPPED = 3
"""Exit status of a worker that could not go on although no trial failed; its last line says why."""
IDLE_SECONDS = 2.0
CANNOT_PREPARE = "cannot make the models of {cell}: {why}; mend that, then run the same command again"


class Parted(Exception):
    """A run failed on several processes, which therefore end; a new worker goes on."""


@dataclass
class Worker:
    """Trains cells of one study.

    Of several processes that train each trial together the main one claims, and the others follow.

    Attributes:
        folder: of the study.
        plan: what was agreed on.
        stop: asked after every iteration; ends the making of models at once.
        process: how it is called in the list of trials.
    """

    folder: StudyFolder
    plan: Plan
    stop: Stop
    process: Process

    def work(self, *, until_done: bool) -> int:
        """Train cells until none waits.

        Args:
            until_done: wait for what others train, and take it up if they die.
        Returns:
            exit status: 0, or `STOPPED` if the disk or the storage of trials made it give up.
        """
        if not is_main():
            return self._follow()
        try:
            self._lead(patiently(lambda: open_trials(self.folder, self.plan)), until_done)
        except (Parted, StopNow):
            return 0
        except (CheckpointError, StorageError) as error:
            return _give_up(error)
        broadcast(None)
        leave()
        return 0

    def _lead(self, trials: Trials, until_done: bool) -> None:
        """Claim and train until nothing waits, or a stop is asked for."""
        while not self.stop.is_asked:
            if claim := self._next(trials):
                self._work_off(claim, trials)
            elif not until_done or all(status.is_over for status in trials.status()):
                return
            else:
                time.sleep(IDLE_SECONDS)

    def _follow(self) -> int:
        """Train what the main process claims, until it claims nothing more, or a run fails on both."""
        while (claimed := broadcast(None)) is not None:
            try:
                with suppress(Interrupted):
                    self._run(*claimed).train(NoTracker(), lambda: self.stop.is_asked)
            except StopNow:
                return 0
            except Exception as error:
                if not is_expected(error):
                    raise  # of this process alone, perhaps: the launcher ends the others
                return 0
        leave()
        return 0

    def _next(self, trials: Trials) -> Claim | None:
        """Claim what waits; if nothing does, put back what the dead left and enqueue what is missing."""
        if claim := trials.claim(self.process):
            return claim
        trials.sweep()
        trials.enqueue("missing")
        return trials.claim(self.process)

    def _work_off(self, claim: Claim, trials: Trials) -> None:
        """Train the cells of a claim, as far as each comes to its end."""
        while not claim.is_over:
            cell = claim.cell
            ended = self._train(claim, trials)
            if ended is None:
                return
            trials.record(claim, ended)
            self.folder.tidy(cell)

    def _train(self, claim: Claim, trials: Trials) -> Outcome | None:
        """Train one cell; a run that fails, or is to stop, leaves the others alone.

        Returns:
            how the run ended; None if it was given back or failed.
        Raises:
            CheckpointError: if the disk does not take its models or checkpoint; the cell is given back.
            StopNow: if it is to stop while its models are made; the cell is given back.
            Parted: if the run failed, and the other processes that trained it are gone.
        """
        broadcast((claim.cell, claim.parameters))
        try:
            return self._finish(claim, trials)
        except Interrupted:
            trials.give_back(claim)
            return None
        except (CheckpointError, StopNow):
            trials.give_back(claim)
            raise
        except Exception as error:
            if processes() > 1 and not is_expected(error):
                traceback.print_exc()  # perhaps another process died, which is no fault of the cell
                signal.raise_signal(signal.SIGABRT)
            trials.fail(claim, one_sentence(error))
            if processes() > 1:
                raise Parted from error  # the others have failed as well, or wait in vain
            return None

    def _finish(self, claim: Claim, trials: Trials) -> Outcome:
        """Train one cell to its end, alive to others from before the first model of its own is made."""
        pulse = Pulse(trials, claim, self.plan.study.ppo.iterations)
        with pulse.beating(last_iteration(self.folder.cell(claim.cell))):
            log = self._log(claim)
            with listening(pulse):
                run_id, result = log.train(lambda: self.stop.is_asked or claim.is_lost)
        save_policy(log.run)
        state: Literal["ok", "collapsed"] = "collapsed" if result.collapse else "ok"
        return Outcome(state, result.final, run_id, result.history[-1][0], result.stopped_at)

    def _log(self, claim: Claim) -> RunLog:
        run = self._run(claim.cell, claim.parameters)
        tags = {"optuna_trial": str(claim.number), "settings_hash": self.plan.settings_hash}
        return RunLog(self._store, self.folder.name, claim.cell.arm, run, tags)

    def _run(self, cell: Cell, parameters: Mapping[str, Any]) -> Run:
        study = self.plan.study
        return Run(
            self._task, self.plan.recipe(cell.arm, parameters), study.ppo, self._models(cell), cell.seed,
            self.folder.cell(cell), self._accelerator, study.collapse, make_pruner(study),
        )  # fmt: skip

    def _models(self, cell: Cell) -> Prepared:
        """Return the models that a cell starts from; those of its own seed are made if need be."""
        study = self.plan.study
        if not study.prepare.is_per_run:
            return self._prepared
        models, home, ppo = study.prepare.for_run(cell.seed), self.folder.home, study.ppo
        cap, rows = ppo.max_response_tokens, ppo.micro_batch_size
        try:
            with self.stop.at_once():
                return prepare(self._task, models, home, self._accelerator, cap, rows)
        except (OSError, SafetensorError) as error:  # no fault of the cell: perhaps the disk is full
            sentence = CANNOT_PREPARE.format(cell=cell.name, why=one_sentence(error))
            raise CheckpointError(sentence) from error

    def __post_init__(self) -> None:
        """Open what all cells need; the task's data are read once."""
        torch.set_num_threads(self.plan.threads)
        prepared = self.folder.read_prepared()
        if prepared is None:
            where = f"study {self.folder.name} is not prepared in {self.folder.home}"
            raise FileNotFoundError(f"{where}; run `workbench ablate` or `workbench prepare` first")
        self._prepared = prepared
        self._accelerator = make_accelerator(self.plan.device)
        self._task = make_task(self.plan.study.task)
        require_same_data(prepared, self._task, self.folder.name)
        self._store = default_store(self.folder.home, self.plan.tracking_uri)


def work(folder: StudyFolder, stop: Stop, *, name: str | None = None, until_done: bool = False) -> int:
    """Train cells of a study in this process; see `Worker.work`.

    Args:
        folder: of the study.
        stop: asked after every iteration.
        name: how to call this worker; else host and process id.
        until_done: wait for what others train, and take it up if they die.
    """
    return Worker(folder, require_plan(folder), stop, Process.this(name)).work(until_done=until_done)


def main() -> int:
    """Run a worker for the study in a home folder, as a child of `workbench ablate`."""
    parser = ArgumentParser(description=main.__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("study")
    parser.add_argument("--name", help="how to call it in lists")
    parser.add_argument("--parent", type=int, help="process to end with")
    parser.add_argument("--until-done", action="store_true", help="wait for what others train")
    given = parser.parse_args()
    stop = Stop()
    stop.listen(given.parent)
    settle_process()
    folder = find_study(given.home, given.study)
    return work(folder, stop, name=given.name, until_done=given.until_done)


def _give_up(error: Exception) -> int:
    with suppress(OSError):  # the log may lie on the disk that is full
        print(one_sentence(error), file=sys.stderr, flush=True)
    return STOPPED


if __name__ == "__main__":
    sys.exit(main())
