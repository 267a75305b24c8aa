"""What all launchers have in common: what a worker is told, and what is asked of it."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a node of a cluster unpickles a job without importing torch
    from ablations.folder import StudyFolder
    from ablations.plan import Plan


@dataclass(frozen=True)
class Job:
    """What the workers of a study are told; paths are absolute, since workers start elsewhere.

    Attributes:
        home: folder of stores, models and studies.
        study: name of the study.
        folder: of the study.
        threads: torch threads of each process.
        until_done: whether a worker waits for what others train, and takes it up if they die.
    """

    home: Path
    study: str
    folder: Path
    threads: int
    until_done: bool = False

    def command(self, name: str) -> list[str]:
        """Return what starts a worker of this name, as a child of this very process."""
        worker = [sys.executable, "-m", "ablations.worker", str(self.home), self.study, "--name", name]
        return [*worker, "--parent", str(os.getpid()), *(["--until-done"] if self.until_done else [])]

    def log(self, name: str) -> Path:
        """Return the file into which a worker of this name writes; its folder is made."""
        logs = self.folder / "workers"
        logs.mkdir(exist_ok=True)
        return logs / f"{name.replace(':', '-')}.log"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that keep a worker to its threads, whatever the machine has."""
        threads = str(self.threads)
        return {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
        }


def make_job(folder: "StudyFolder", plan: "Plan", *, until_done: bool = False) -> Job:
    """Take down what the workers of a study are told.

    Args:
        folder: of the study.
        plan: what was agreed on.
        until_done: whether they wait for what others train.
    """
    return Job(folder.home.resolve(), folder.name, folder.path.resolve(), plan.threads, until_done)


class Worker(Protocol):
    """A worker that was started, wherever it runs.

    Attributes:
        name: under which it claims cells.
    """

    @property
    def name(self) -> str: ...

    def exit_status(self) -> int | None:
        """Return how it ended, or None while it runs or waits for its place.

        Returns:
            0 if no cell waited or it was asked to stop; above 0 if it gave up; below 0 if it died,
            then minus the number of the signal.
        """
        ...

    def last_words(self) -> str:
        """Return the last line that it wrote, and where to find the others if that is empty."""
        ...

    def ask_to_stop(self) -> None:
        """Ask it to end after this iteration, with a checkpoint; returns at once."""
        ...

    def kill(self) -> None:
        """End it now."""
        ...


class Launcher(Protocol):
    """A place where workers run."""

    @property
    def room(self) -> int:
        """Number of workers for which there is room, by the launcher's own lights."""
        ...

    def threads(self, workers: int) -> int:
        """Return how many threads each process should have, with so many workers at a time."""
        ...

    def describe(self, workers: int) -> str:
        """Say in a line where so many workers run, and what each of them gets."""
        ...

    def start(self, name: str, job: Job) -> Worker:
        """Start a worker of this name; returns before it has begun to work."""
        ...
