"""Worker processes on one machine: started while cells wait, replaced when dead, stopped together."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from ablations.display import Display
from ablations.trials import DONE, Status, Trials

POLL_SECONDS = 0.25
SWEEP_SECONDS = 2.0
EARLY_DEATHS = 10
"""Workers may die this often without any cell getting further before the study is stopped."""


class StoppedError(RuntimeError):
    """Workers could not go on although no trial failed: the disk is full, or the store is away."""


@dataclass
class Supervisor:
    """Keeps worker processes busy until no cell waits, and shows how far they are.

    Attributes:
        trials: of the study.
        workers: processes at a time.
        threads: of each.
    """

    trials: Trials
    workers: int
    threads: int
    _logs: dict[subprocess.Popen[bytes], Path] = field(default_factory=dict, init=False)
    _names: set[str] = field(default_factory=set, init=False)
    _early: list[list[int]] = field(default_factory=list, init=False)
    _swept: float = field(default=0.0, init=False)

    def run(self) -> None:
        """Work until every cell is done or has failed.

        Raises:
            StoppedError: if a worker gave up.
            KeyboardInterrupt: if asked to stop; every worker has written its checkpoint by then.
        """
        with Display(self.trials.outline) as display:
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
        ended = [process for process in self._logs if process.poll() is not None]
        logs = {process: self._logs.pop(process) for process in ended}
        for process, log in logs.items():
            if process.returncode > 0:
                raise StoppedError(
                    _last_line(log) or f"a worker ended with {process.returncode}; see {log}"
                )
            if process.returncode < 0:
                self._count_early_death(process.returncode, [status.iteration for status in statuses])
        if ended or time.monotonic() - self._swept > SWEEP_SECONDS:
            self._swept = time.monotonic()
            self.trials.sweep()
            self.trials.enqueue("missing")

    def _start_workers(self, statuses: list[Status]) -> None:
        """Start a worker for each cell that waits, as far as there is room."""
        busy = sum(status.worker in self._names and status.state == "running" for status in statuses)
        waiting = sum(status.state in ("waiting", "stopped") for status in statuses)
        idle = len(self._logs) - busy
        for _ in range(min(waiting - idle, self.workers - len(self._logs))):
            self._start()

    def _count_early_death(self, signal_number: int, iterations: list[int]) -> None:
        self._early = [known for known in self._early if known == iterations] + [iterations]
        if len(self._early) >= EARLY_DEATHS:
            raise StoppedError(
                f"{EARLY_DEATHS} workers were killed by signal {-signal_number} before they got anywhere"
            )

    def _start(self) -> None:
        folder, threads = self.trials.folder, str(self.threads)
        logs = folder.path / "workers"
        logs.mkdir(exist_ok=True)
        number = len(list(logs.iterdir()))
        log, name = logs / f"{number}.log", f"w{number}"
        self._names.add(name)
        command = [sys.executable, "-m", "ablations.worker", str(folder.home), folder.name]
        quiet = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--name", name, "--parent", str(os.getpid())],
                env=os.environ | quiet, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                process_group=0,  # Ctrl-C reaches the parent alone, which passes it on
            )  # fmt: skip
        self._logs[process] = log

    def _stop(self) -> None:
        """Ask the workers to stop, and wait; a second Ctrl-C ends them at once."""
        for process in self._logs:
            process.send_signal(signal.SIGTERM)
        try:
            for process in self._logs:
                process.wait()
        except KeyboardInterrupt:
            for process in self._logs:
                process.kill()
            raise


def _is_unfinished(statuses: list[Status]) -> bool:
    return any(status.state not in (*DONE, "failed") for status in statuses)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
