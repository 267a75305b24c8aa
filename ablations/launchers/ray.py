"""Workers on a Ray cluster, with as many CPUs and GPUs each as were asked for."""

import logging
import math
import signal
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from ablations.launchers.base import Job
from ablations.launchers.ray_host import GAVE_UP, Ending, Host, study_hash
from workbench.errors import one_sentence

KILL_SECONDS = 10.0


@dataclass
class RayWorker:
    """A worker on a node of the cluster, as seen from here.

    Attributes:
        name: under which it claims cells.
    """

    name: str
    _host: Any
    _ending: Ending | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Let it run as soon as it has its place."""
        self._begun = self._host.has_begun.remote()
        self._run = self._host.run.remote()

    @property
    def node(self) -> str:
        """Ray's id of the node on which it ran; empty before it has ended, and if the node died."""
        return self._ending.node if self._ending else ""

    def exit_status(self) -> int | None:
        """Return how it ended: -9 if its actor or its node died, None while it runs or has no place."""
        if self._ending is None and _is_ready(self._run):
            self._ending = self._collect()
        return self._ending.status if self._ending else None

    def last_words(self) -> str:
        """Return the last line that it wrote, or what became of it."""
        return self._ending.last_words if self._ending else ""

    def ask_to_stop(self) -> None:
        """Ask its actor to pass the request on; a worker that has no place yet is called off."""
        if _is_ready(self._begun):
            self._host.ask_to_stop.remote()
        else:
            ray.kill(self._host)

    def kill(self) -> None:
        """End its processes and its actor."""
        if self.exit_status() is None and _is_ready(self._begun):
            try:
                ray.get(self._host.kill.remote(), timeout=KILL_SECONDS)
            except RayError:
                pass  # its node is gone or does not answer, and the processes end with their actor
        ray.kill(self._host)

    def _collect(self) -> Ending | None:
        try:
            ending: Ending = ray.get(self._run)
        except ActorUnavailableError:  # the network stuttered; the actor goes on
            self._run = self._host.run.remote()
            return None
        except RayTaskError as error:
            ending = Ending(GAVE_UP, one_sentence(error.cause))
        except RayActorError as error:
            status = GAVE_UP if error.actor_init_failed else -signal.SIGKILL
            ending = Ending(status, one_sentence(error))
        ray.kill(self._host)  # which gives its place to others
        return ending


@dataclass
class RayCluster:
    """Starts workers as actors, wherever the cluster has room; those without a place wait for one.

    Attributes:
        address: of the cluster; "auto" finds the one to which this machine belongs.
        device: "auto", "cpu" or "cuda".
        processes: that train one trial together.
        cpus: of each worker; None is one per process.
        gpus: of each worker, a share of one or several; None is one per process, if there are any.
    Raises:
        ValueError: if there is no cluster, or the GPUs do not suit the processes.
    """

    address: str = "auto"
    device: str = "auto"
    processes: int = 1
    cpus: float | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        """Join the cluster, and settle what each worker gets."""
        connect(self.address)
        self._cpus = self.processes if self.cpus is None else self.cpus
        has_gpus = self.device != "cpu" and any(node.get("GPU") for node in nodes())
        self._gpus = self.processes * has_gpus if self.gpus is None else self.gpus
        if self._gpus and (self.processes > 1 or self._gpus > 1) and self._gpus % self.processes:
            raise ValueError(
                "--trial-gpus must be a share of one GPU, or as many for each of the"
                f" {self.processes} processes of a trial, got {self._gpus:g}"
            )

    @property
    def room(self) -> int:
        """As many workers as the cluster's nodes have room for, but for what else runs on them."""
        return max(1, sum(self._fitting(node) for node in nodes()))

    def threads(self, workers: int) -> int:
        """Use the CPUs of one worker."""
        return max(1, int(self._cpus) // self.processes)

    def describe(self, workers: int) -> str:
        """Say how many workers run on what, and how many nodes there are for them."""
        fitting = sum(self._fitting(node) for node in nodes())
        text = (
            f"workers: {workers}, each with CPUs: {self._cpus:g}, GPUs: {self._gpus:g},"
            f" on a Ray cluster with nodes: {len(nodes())}"
        )
        return text if fitting >= workers else f"{text}; there is room for {fitting}, the others wait"

    def start(self, name: str, job: Job) -> RayWorker:
        """Start a worker, on another node than the last one where possible."""
        actor = ray.remote(Host).options(
            num_cpus=self._cpus, num_gpus=self._gpus, scheduling_strategy="SPREAD"
        )
        seen, has_gpu = study_hash(job.folder), self._gpus > 0
        host = actor.remote(name, job, seen, processes=self.processes, has_gpu=has_gpu)
        return RayWorker(name, host)

    def _fitting(self, node: dict[str, float]) -> int:
        asked = {"CPU": self._cpus, "GPU": self._gpus}
        return min(math.floor(node.get(key, 0) / value) for key, value in asked.items() if value)


def connect(address: str) -> None:
    """Join a Ray cluster, unless this process has.

    Raises:
        ValueError: if there is none at the address.
    """
    if ray.is_initialized():
        return
    try:
        _require_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except OSError as error:
        raise ValueError(
            f"no Ray cluster at {address}: start one with `ray start --head`, or say where it is"
            f" with --ray-address ({one_sentence(error)})"
        ) from None


def _require_answer(address: str) -> None:
    """Raise an OSError where nothing listens: Ray itself would try for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=10).close()


def nodes() -> list[dict[str, float]]:
    """Return what each living node of the cluster has: "CPU", "GPU" and so on."""
    every: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in every if node["Alive"]]


def _is_ready(reference: Any) -> bool:
    return bool(ray.wait([reference], timeout=0)[0])
