"""A launcher whose workers are there in a moment: forked from a process that has imported everything.

They are processes like any other worker's, which the kernel kills at once and without a word; only the
seconds that importing torch and MLflow takes are paid once and not for each of them.
"""

import gc
import multiprocessing
import os
import sys
import threading
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from ablations.folder import find_study
from ablations.launchers.base import Job
from ablations.liveness import Stop
from ablations.runner import Options
from ablations.worker import work
from tests.ablations.toy import OPTIONS
from workbench.environment import settle_process
from workbench.registry import registry

CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
NEEDED_LATER = (
    "alembic.command",
    "mlflow.store.artifact.local_artifact_repo",
    "mlflow.store.tracking.sqlalchemy_store",
    "optuna.storages._rdb.models",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "workbench.tasks.dialogue.task",
)
"""Modules that a worker imports when it gets to them."""
CONTEXT.set_forkserver_preload([__name__, *NEEDED_LATER])
registry()  # imports every trick


@dataclass(frozen=True)
class ForkedWorker:
    """One worker process.

    Attributes:
        name: under which it claims cells.
        process: that works.
        log: file that it writes into.
    """

    name: str
    process: ForkServerProcess
    log: Path
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def exit_status(self) -> int | None:
        with self._asking:  # how a process ended can be read once, by one thread; it is kept then
            return self.process.exitcode

    def last_words(self) -> str:
        lines = self.log.read_text().splitlines()
        return lines[-1] if lines else f"{self.name} said nothing in {self.log}; is its disk full?"

    def ask_to_stop(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()


class Forked:
    """Starts forked workers."""

    room = 2

    def threads(self, workers: int) -> int:
        return 1

    def describe(self, workers: int) -> str:
        return f"workers: {workers}, forked"

    def start(self, name: str, job: Job) -> ForkedWorker:
        log = job.log(name)
        process = CONTEXT.Process(target=_work, args=(job.home, job.study, name, log), daemon=True)
        process.start()
        return ForkedWorker(name, process, log)


def forked(**others: Any) -> Options:
    """Return options that run the toy study to the same bits as `OPTIONS`, with forked workers."""
    threads = OPTIONS.launcher.threads(OPTIONS.workers)
    return replace(OPTIONS, **{"launcher": Forked(), "threads": threads, **others})


def _work(home: Path, study: str, name: str, log: Path) -> None:
    """Do what `ablations.worker.main` does."""
    gc.freeze()  # a collection that walks over all that was imported would copy every page of it
    with log.open("wb") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    stop = Stop()
    stop.listen(None)
    settle_process()
    sys.exit(work(find_study(home, study), stop, name=name))
