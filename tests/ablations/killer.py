"""SIGKILL for the workers of a study that runs, at random moments."""

import random
import signal
import threading
import time
from dataclasses import dataclass, field
from functools import partial

from ablations.folder import StudyFolder
from ablations.launchers.base import Job, Launcher, Worker
from tests.mlflow_server import wait_for

REACH = 0.8
"""Share of the iterations of a study in which all kills lie: until then there is somebody to kill."""
JITTER_SECONDS = 0.1
STUDY_SECONDS = 3600.0
"""How long a study may take until the next kill."""


@dataclass
class Remembering:
    """A launcher that remembers the workers which another one has started for it.

    Attributes:
        launcher: the other one.
        started: every worker so far.
    """

    launcher: Launcher
    started: list[Worker] = field(default_factory=list)

    @property
    def room(self) -> int:
        return self.launcher.room

    def threads(self, workers: int) -> int:
        return self.launcher.threads(workers)

    def describe(self, workers: int) -> str:
        return self.launcher.describe(workers)

    def start(self, name: str, job: Job) -> Worker:
        self.started.append(self.launcher.start(name, job))
        return self.started[-1]

    @property
    def alive(self) -> list[Worker]:
        """The workers that have not ended."""
        return [worker for worker in self.started if worker.exit_status() is None]

    @property
    def killed(self) -> list[Worker]:
        """The workers that SIGKILL ended."""
        return [worker for worker in self.started if worker.exit_status() == -signal.SIGKILL]


class Killer(threading.Thread):
    """Kills workers one by one: each as soon as so many iterations are done, and a moment later.

    What is done sets the pace and not the clock, so a busy machine is disturbed like a fast one.
    """

    def __init__(self, folder: StudyFolder, launcher: Remembering, kills: int, iterations: int) -> None:
        """Choose the moments.

        Args:
            folder: of the study.
            launcher: of the workers.
            kills: how many.
            iterations: of all cells together.
        """
        super().__init__()
        self._folder, self._launcher, self._random = folder, launcher, random.Random(0)
        self._moments = sorted(self._random.sample(range(int(REACH * iterations)), kills))

    def run(self) -> None:
        for moment in self._moments:
            wait_for(partial(self._has_reached, moment), f"iteration {moment}", STUDY_SECONDS)
            time.sleep(self._random.uniform(0, JITTER_SECONDS))
            while not self._kill_one():
                pass

    def _has_reached(self, moment: int) -> bool:
        return iterations_done(self._folder) >= moment

    def _kill_one(self) -> bool:
        """Kill a worker; False if it has just ended by itself."""
        wait_for(lambda: self._launcher.alive, "a living worker")
        alive = self._launcher.alive
        return bool(alive) and is_killed(self._random.choice(alive))


def is_killed(worker: Worker) -> bool:
    """Kill a worker and wait for its end; say whether it was that which ended it."""
    worker.kill()
    wait_for(lambda: worker.exit_status() is not None, f"the end of {worker.name}")
    return worker.exit_status() == -signal.SIGKILL


def iterations_done(folder: StudyFolder) -> int:
    """Count the iterations of all cells that are safely on the disk."""
    if not folder.file.is_file():
        return 0
    done, whole = 0, folder.outline().iterations
    for cell in folder.path.glob("cells/*"):
        reached = [int(file.stem.rpartition("-")[2]) for file in cell.glob("checkpoint-*.safetensors")]
        done += whole if (cell / "policy").is_dir() else max(reached, default=0)
    return done
