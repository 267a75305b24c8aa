"""Workers kept busy: started while cells wait, replaced when dead, stopped together."""

import os
import socket
import time
from dataclasses import dataclass, field
from itertools import count

from ablations.display import Display
from ablations.launchers.base import Job, Launcher, Worker
from ablations.records import Status
from ablations.trials import Trials

POLL_SECONDS = 0.5
SWEEP_SECONDS = 2.0
EARLY_DEATHS = 10
"""Workers may die this often without any cell getting further before the study is stopped."""


class StoppedError(RuntimeError):
    """Workers could not go on although no trial failed.

    The disk is full, the storage of trials stayed away, or all die early. That MLflow is away is no
    reason: a spool keeps what the runs say.
    """


@dataclass
class Supervisor:
    """Keeps workers busy until no cell waits, and shows how far they are.

    Attributes:
        trials: of the study.
        launcher: starts workers.
        job: what they are told.
        workers: at a time.
    """

    trials: Trials
    launcher: Launcher
    job: Job
    workers: int
    _running: list[Worker] = field(default_factory=list, init=False)
    _reached: list[int] = field(default_factory=list, init=False)
    _early_deaths: int = field(default=0, init=False)
    _swept: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Make names for the workers that no other process uses."""
        self._names = (f"{socket.gethostname()}:{os.getpid()}.{number}" for number in count())

    def run(self) -> None:
        """Work until every cell is done, or has failed as often as the study allows.

        Raises:
            StoppedError: if a worker gave up, or too many die before any cell gets further.
            KeyboardInterrupt: if asked to stop; every worker has written its checkpoint by then.
        """
        with Display(self.trials.outline) as display:
            display.say(self.launcher.describe(self.workers))
            try:
                while _is_unfinished(statuses := self.trials.status()):
                    display.show(statuses)
                    self._bury_the_dead(statuses)
                    self._start_workers(statuses)
                    time.sleep(POLL_SECONDS)
                display.show(statuses)
            except KeyboardInterrupt:
                display.say("stopping: each worker finishes its iteration and writes a checkpoint")
                raise
            finally:
                self._stop()

    def _bury_the_dead(self, statuses: list[Status]) -> None:
        """Take note of workers that ended, and put back what they left."""
        ended = [worker for worker in self._running if worker.exit_status() is not None]
        self._running = [worker for worker in self._running if worker not in ended]
        for worker in ended:
            exit_status = worker.exit_status() or 0
            if exit_status > 0:
                raise StoppedError(worker.last_words() or f"{worker.name} ended with {exit_status}")
            if exit_status < 0:
                self._count_early_death(-exit_status, [status.iteration for status in statuses])
        if ended or time.monotonic() - self._swept > SWEEP_SECONDS:
            self._swept = time.monotonic()
            self.trials.sweep()
            self.trials.enqueue("missing")

    def _start_workers(self, statuses: list[Status]) -> None:
        """Start a worker for each cell that waits, as far as there is room."""
        mine = {worker.name for worker in self._running}
        busy = sum(status.state == "running" and status.worker in mine for status in statuses)
        waiting = sum(status.state in ("waiting", "stopped") for status in statuses)
        idle = len(self._running) - busy
        for _ in range(min(waiting - idle, self.workers - len(self._running))):
            self._running.append(self.launcher.start(next(self._names), self.job))

    def _count_early_death(self, signal_number: int, iterations: list[int]) -> None:
        """Stop the study if workers are killed again and again while no cell gets any further."""
        self._early_deaths = self._early_deaths + 1 if iterations == self._reached else 1
        self._reached = iterations
        if self._early_deaths >= EARLY_DEATHS:
            raise StoppedError(
                f"{EARLY_DEATHS} workers were killed by signal {signal_number} before they got anywhere"
            )

    def _stop(self) -> None:
        """Ask the workers to stop, and wait; a second Ctrl-C ends them at once."""
        for worker in self._running:
            worker.ask_to_stop()
        try:
            while any(worker.exit_status() is None for worker in self._running):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            for worker in self._running:
                worker.kill()
            raise


def _is_unfinished(statuses: list[Status]) -> bool:
    return not all(status.is_over for status in statuses)
