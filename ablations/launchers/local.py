"""Workers on this machine, with a share of its cores and GPUs each."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import torch

from ablations.launchers.base import Job
from ablations.launchers.processes import Processes, start_processes

WORKERS_ON_CPU = 2
"""Workers unless asked for more: each of them needs memory for four models."""


@dataclass
class Local:
    """Starts workers as children of this process.

    A worker takes the first free slot. Slot i has GPU i, counted round and round, so that workers share
    GPUs if there are more of them; a worker of several processes has as many GPUs.

    Attributes:
        device: "auto", "cpu" or "cuda".
        processes: that train one trial together.
        pin_cores: whether workers keep to cores of their own.
        gpus: names of this machine's GPUs, as in CUDA_VISIBLE_DEVICES; none if the device is "cpu".
    Raises:
        ValueError: if there are GPUs, but too few for one trial, or cores cannot be pinned here.
    """

    device: str = "auto"
    processes: int = 1
    pin_cores: bool = False
    gpus: Sequence[str] = field(default_factory=lambda: visible_gpus())
    _slots: dict[int, Processes] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Check what was asked for."""
        self.gpus = [] if self.device == "cpu" else self.gpus
        if 0 < len(self.gpus) < self.processes:
            raise ValueError(
                f"a trial on {self.processes} processes needs as many GPUs, and there are"
                f" {len(self.gpus)}; lower --processes-per-trial"
            )
        if self.pin_cores and not hasattr(os, "sched_setaffinity"):
            raise ValueError("--pin-cores needs Linux; leave it out")

    @property
    def room(self) -> int:
        """One worker per GPU, or so many processes as there are cores, but no more than two workers."""
        if self.gpus:
            return len(self.gpus) // self.processes
        return max(1, min(WORKERS_ON_CPU, len(cores()) // self.processes))

    def threads(self, workers: int) -> int:
        """Share the cores out."""
        return max(1, len(cores()) // (workers * self.processes))

    def describe(self, workers: int) -> str:
        """Say how many workers run here, and on what."""
        each = f", each of processes: {self.processes}" if self.processes > 1 else ""
        machine = f"this machine with cores: {len(cores())}, GPUs: {len(self.gpus)}"
        return f"workers: {workers}{each}, on {machine}"

    def start(self, name: str, job: Job) -> Processes:
        """Start a worker in the first free slot."""
        slot = next(slot for slot in count() if self._is_free(slot))
        self._slots[slot] = start_processes(
            name, job.command(name), job.log(name),
            environment={**job.environment, **self._devices(slot)},
            count=self.processes, cores=self._cores(slot, job.threads),
        )  # fmt: skip
        return self._slots[slot]

    def _is_free(self, slot: int) -> bool:
        return slot not in self._slots or self._slots[slot].exit_status() is not None

    def _devices(self, slot: int) -> dict[str, str]:
        """Return the variables that give a slot its GPUs."""
        if not self.gpus:  # Accelerate makes no group of processes without a GPU unless it is told to
            return {"ACCELERATE_USE_CPU": "true"} if self.processes > 1 else {}
        first = slot * self.processes
        share = [self.gpus[(first + rank) % len(self.gpus)] for rank in range(self.processes)]
        return {"CUDA_VISIBLE_DEVICES": ",".join(share)}

    def _cores(self, slot: int, threads: int) -> list[int]:
        """Return the cores of a slot; none if workers are not pinned, or there are more than cores."""
        size = threads * self.processes
        share = cores()[slot * size : (slot + 1) * size]
        return share if self.pin_cores and len(share) == size else []


def cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def visible_gpus() -> list[str]:
    """Return this process's GPUs, named as in CUDA_VISIBLE_DEVICES."""
    number = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(gpu) for gpu in range(number)])[:number]
