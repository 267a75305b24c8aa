"""Which process trains a cell, and whether that process is still there."""

import os
import socket
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import psutil

BOOT, NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
STATE, START = 0, 19
"""Places in /proc/PID/stat after the name, from 0; proc(5) counts them from 3."""
NEVER = -1
"""When a process started that is not there, or is a zombie."""
SLACK_SECONDS = 2.0
"""By so much a start in seconds since 1970 may move, as the clock is kept right and rounded."""


@dataclass(frozen=True)
class Process:
    """A process, told apart from any other on any machine, also from a later one of the same number.

    Attributes:
        name: what the worker is called in lists.
        machine: the boot and the process namespace in which `pid` means something.
        pid: process id.
        started: when it started: a whole number of the kernel's ticks since the boot, which no change of
            the clock moves; where the boot is not known, and in older studies, seconds since 1970.
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
        started = _ticks(pid) if _knows_boot() else _seconds(pid)
        return cls(name or f"{socket.gethostname()}:{pid}", _machine(), pid, started)

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
        if not self.is_here:
            return False
        if isinstance(self.started, int):
            return _ticks(self.pid) != self.started
        return abs(_seconds(self.pid) - self.started) > SLACK_SECONDS


def _ticks(pid: int) -> int:
    """Return when a process started, in the kernel's ticks since the boot."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return NEVER
    return NEVER if fields[STATE] == b"Z" else int(fields[START])


def _seconds(pid: int) -> float:
    """Return when a process started, in seconds since 1970, as the clock now has it."""
    try:
        process = psutil.Process(pid)
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return NEVER if is_dead else float(process.create_time())
    except psutil.Error:
        return NEVER


@cache
def _machine() -> str:
    if not _knows_boot():
        return socket.gethostname()
    return f"{BOOT.read_text().strip()}/{os.readlink(NAMESPACE)}"


def _knows_boot() -> bool:
    return BOOT.is_file() and NAMESPACE.is_symlink()
