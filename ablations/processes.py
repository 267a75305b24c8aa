"""Which process trains a cell, and whether that process is still there."""

import os
import socket
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import psutil


@dataclass(frozen=True)
class Process:
    """A process, told apart from any other on any machine, also from a later one of the same number.

    Attributes:
        name: what the worker is called in lists.
        machine: the boot and the process namespace in which `pid` means something.
        pid: process id.
        started: when it started, in seconds, as the machine has it.
    """

    name: str
    machine: str
    pid: int
    started: float

    @classmethod
    def this(cls, name: str | None = None) -> Self:
        """Return the process that asks.

        Args:
            name: what to call it; else host and process id.
        """
        pid = os.getpid()
        return cls(name or f"{socket.gethostname()}:{pid}", _machine(), pid, _started(pid))

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self:
        """Restore what `facts` wrote."""
        return cls(**facts)

    def facts(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, where it can be looked for."""
        return self.machine == _machine()

    @property
    def is_gone(self) -> bool:
        """Whether it certainly ended; False for what runs elsewhere."""
        return self.is_here and _started(self.pid) != self.started


def _started(pid: int) -> float:
    """Return when a process started, or −1 if there is none or it is a zombie."""
    try:
        process = psutil.Process(pid)
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return -1.0 if is_dead else round(process.create_time(), 2)
    except psutil.Error:
        return -1.0


@cache
def _machine() -> str:
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if not boot.is_file() or not namespace.is_symlink():
        return socket.gethostname()
    return f"{boot.read_text().strip()}/{os.readlink(namespace)}"
