"""The processes of one worker on this machine: one, or several that train each trial together."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

LINGER_SECONDS = 10.0
"""How long the other processes of a worker may outlive the first."""


@dataclass
class Processes:
    """One worker: the processes that were started for it, and how they ended.

    Several processes of one worker are ranks of a group in torch.distributed, told so by the variables
    that torchrun sets. They are started here and not by `accelerate launch`, since that starts one
    process alone with --cpu, hides how they ended behind its own exit status, and leaves them behind
    when it is killed.

    Attributes:
        name: under which the worker claims cells.
        log: file that the first process writes into; the others' lie beside it.
    """

    name: str
    log: Path
    _all: list[subprocess.Popen[bytes]]
    _failed: int | None = field(default=None, init=False)
    """Rank of the process that failed first."""
    _parted: float | None = field(default=None, init=False)
    """When the first process was seen to have ended."""

    def exit_status(self) -> int | None:
        """Return how the worker ended, None while one of its processes runs.

        A process that fails takes the others with it, which would wait for it for ever; so does the
        first process when it has ended for a while.
        """
        statuses = [process.poll() for process in self._all]
        if self._failed is None and any(statuses):
            self._failed = next(rank for rank, status in enumerate(statuses) if status)
            self.kill()
        if statuses[0] is not None and self._parted is None:
            self._parted = time.monotonic()
        if self._parted is not None and time.monotonic() - self._parted > LINGER_SECONDS:
            self._failed = self._failed or 0
            self.kill()
        if None in statuses:
            return None
        status = statuses[self._failed or 0]
        has_given_up = not self._failed  # the main process alone can: it knows of stores and the disk
        return status if has_given_up or not status or status < 0 else -signal.SIGABRT

    def last_words(self) -> str:
        """Return the last line of the process that failed, or of the first one."""
        log = rank_log(self.log, self._failed or 0)
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"{self.name} said nothing in {log}; is its disk full?"

    def ask_to_stop(self) -> None:
        """Send SIGTERM to each process."""
        for process in self._all:
            process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to each process."""
        for process in self._all:
            process.kill()


def start_processes(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str],
    count: int = 1,
    cores: Sequence[int] = (),
) -> Processes:
    """Start the processes of a worker.

    Args:
        name: of the worker.
        command: to run in each of them.
        log: file to write into.
        environment: variables besides those of this process.
        count: of processes.
        cores: that they may use; all, if it is empty.
    """
    with on_cores(cores) if cores else nullcontext():
        ranks = [environment] if count == 1 else [{**environment, **rank} for rank in group(count)]
        started = [
            _start(command, rank_log(log, rank), variables) for rank, variables in enumerate(ranks)
        ]
    return Processes(name, log, started)


def rank_log(log: Path, rank: int) -> Path:
    """Return the file into which a process of a group writes."""
    return log if rank == 0 else log.with_suffix(f".{rank}{log.suffix}")


def group(count: int) -> list[dict[str, str]]:
    """Return what makes so many processes a group of torch.distributed, for each rank."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


@contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Let processes that are started inside the block run on some cores only; they inherit it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _start(command: Sequence[str], log: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command, env=os.environ | variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            process_group=0,  # Ctrl-C reaches the parent alone, which passes it on
        )  # fmt: skip
