"""The far end of a worker on a Ray cluster: an actor that runs the worker's processes on its node."""

import asyncio
import hashlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import ray

import ablations
from ablations.launchers.base import Job
from ablations.launchers.processes import Processes, start_processes

POLL_SECONDS = 0.2
SHARED_SECONDS = 10.0
"""A network file system may show a file that was written elsewhere this late."""
GAVE_UP = 1


@dataclass(frozen=True)
class Ending:
    """How a worker on another node ended.

    Attributes:
        status: as of `Worker.exit_status`.
        last_words: its last line, or why there is none.
        node: Ray's id of the node on which it ran; empty if that is not known any more.
    """

    status: int
    last_words: str
    node: str = ""


class Host:
    """Runs a worker on the node to which Ray gave this actor, as `Local` does, and says how it ended."""

    def __init__(self, name: str, job: Job, study: str, *, processes: int, has_gpu: bool) -> None:
        """Take down what to run.

        Args:
            name: of the worker.
            job: what it is told.
            study: hash of the study's file on the machine that started the study.
            processes: that train one trial together.
            has_gpu: whether Ray gave this actor GPUs, by CUDA_VISIBLE_DEVICES.
        """
        self._name, self._job, self._study = name, job, study
        self._count, self._has_gpu = processes, has_gpu
        self._processes: Processes | None = None
        self._is_stopping = False
        self._ending: asyncio.Task[Ending] | None = None

    async def has_begun(self) -> bool:
        """Answer, which only an actor that has its place can do."""
        return True

    async def run(self) -> Ending:
        """Run the worker to its end; asked again, wait for the same end."""
        self._ending = self._ending or asyncio.create_task(self._run())
        return await asyncio.shield(self._ending)

    async def ask_to_stop(self) -> None:
        """Pass the request on."""
        self._is_stopping = True
        if self._processes:
            self._processes.ask_to_stop()

    async def kill(self) -> None:
        """End the processes now."""
        self._is_stopping = True
        if self._processes:
            self._processes.kill()

    async def _run(self) -> Ending:
        node, folder = ray.get_runtime_context().get_node_id(), self._job.folder
        if not await self._sees_the_study():
            missing = f"node {socket.gethostname()} does not see {folder}"
            remedy = "put the home folder (--home) on a disk that all nodes share, at the same path"
            return Ending(GAVE_UP, f"{missing}; {remedy}", node)
        if self._is_stopping:
            return Ending(0, "", node)
        self._processes = start_processes(
            self._name, self._job.command(self._name), self._job.log(self._name),
            environment={**self._job.environment, **self._variables()}, count=self._count,
        )  # fmt: skip
        while (status := self._processes.exit_status()) is None:
            await asyncio.sleep(POLL_SECONDS)
        return Ending(status, self._processes.last_words(), node)

    async def _sees_the_study(self) -> bool:
        """Say whether this is the study's home folder, not one of that name on the node's own disk."""
        end = time.monotonic() + SHARED_SECONDS
        while (seen := study_hash(self._job.folder)) != self._study and time.monotonic() < end:
            await asyncio.sleep(POLL_SECONDS)
        return seen == self._study

    def _variables(self) -> dict[str, str]:
        """Let the worker import what the actor imported, and see the actor's GPUs and no others."""
        source = str(Path(ablations.__path__[0]).resolve().parent)
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        without_gpu = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
        return {"PYTHONPATH": path} | ({} if self._has_gpu else without_gpu)


def study_hash(folder: Path) -> str:
    """Return a hash of the study's file as this machine sees it; empty if there is none."""
    file = folder / "study.json"
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
