"""How a running study is shown: bars with the time left, or plain lines where there is no terminal."""

import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from ablations.folder import Outline
from ablations.trials import DONE, Status

if TYPE_CHECKING:
    from ablations.estimate import Estimate

QUIET_SECONDS = 10.0
NAMES = {"missing": "to run"}
COLOURS = {"ok": "green", "collapsed": "yellow", "failed": "red", "running": "cyan"}


class Display:
    """Shows the cells that run and all of them together, and says when one ends."""

    def __init__(self, outline: Outline) -> None:
        """Set up bars; the iteration is the unit of progress."""
        self._iterations = outline.iterations
        self._total = self._iterations * len(outline.cells)
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._finished: set[str] | None = None
        self._begin: tuple[float, int] | None = None
        self._line = time.monotonic()

    def __enter__(self) -> Self:
        """Start drawing."""
        self._bars.start()
        self._all = self._bars.add_task("all cells", total=self._total, left="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._bars.stop()

    def say(self, message: str) -> None:
        """Write a line above the bars."""
        self._console.print(message, highlight=False, soft_wrap=True)

    def show(self, statuses: list[Status]) -> None:
        """Show how the cells stand."""
        self._announce(statuses)
        done = sum(self._done(status) for status in statuses)
        left = self._left(done, self._total - done)
        self._bars.update(self._all, completed=done, left=left)
        for status in statuses:
            self._draw(status)
        if not self._console.is_terminal and time.monotonic() - self._line > QUIET_SECONDS:
            self._line = time.monotonic()
            ended = sum(status.state in DONE for status in statuses)
            self.say(
                f"{ended}/{len(statuses)} cells, {done}/{self._total} iterations{left and ', '}{left}"
            )

    def _announce(self, statuses: list[Status]) -> None:
        ended = {status.cell.name: status for status in statuses if status.state in (*DONE, "failed")}
        for name in ended if self._finished is not None else ():
            if name not in (self._finished or ()):
                self.say(f"{name}: {describe(ended[name])}")
        self._finished = set(ended)

    def _draw(self, status: Status) -> None:
        name = status.cell.name
        if status.state == "running":
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=self._iterations, left="")
            self._bars.update(self._tasks[name], completed=status.iteration)
        elif name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))

    def _done(self, status: Status) -> int:
        return self._iterations if status.state in (*DONE, "failed") else status.iteration

    def _left(self, done: int, remaining: int) -> str:
        """Extrapolate from the iterations since this command began to train."""
        now = time.monotonic()
        if self._begin is None or done < self._begin[1]:
            self._begin = (now, done)
        start, first = self._begin
        if done == first:
            return ""
        return f"{in_words((now - start) / (done - first) * remaining)} left"


def in_words(seconds: float) -> str:
    """Write a duration as 45 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def describe(status: Status) -> str:
    """Say how a cell ended, in a few words."""
    if status.state == "failed":
        return f"failed: {status.error}"
    return (
        f"{status.state}, final score {status.value:.3f}" if status.value is not None else status.state
    )


def outcome_table(statuses: list[Status], iterations: int) -> Table:
    """Tabulate how every cell stands."""
    table = Table("arm", "seed", "state", "iterations", "final score", box=None, header_style="bold")
    for status in statuses:
        state = Text(NAMES.get(status.state, status.state), style=COLOURS.get(status.state, ""))
        value = "" if status.value is None else f"{status.value:.3f}"
        cell = status.cell
        table.add_row(cell.arm, str(cell.seed), state, f"{status.iteration}/{iterations}", value)
    return table


def status_facts(statuses: list[Status]) -> dict[str, Any]:
    """Return how every cell stands, and how many are in each state, as plain data."""
    cells = [
        {
            "arm": status.cell.arm,
            "seed": status.cell.seed,
            "state": status.state,
            "iteration": status.iteration,
            "final_score": status.value,
            "error": status.error,
            "run_id": status.run_id,
            "worker": status.worker,
            "heard_at": status.heard_at,
        }
        for status in statuses
    ]
    return {"count": dict(Counter(status.state for status in statuses)), "cells": cells}


def estimate_lines(statuses: list[Status], estimate: "Estimate | None", workers: int) -> list[str]:
    """Say what is left to do and what it costs."""
    done = sum(status.state in DONE for status in statuses)
    counted = f"{len(statuses)} cells, {done} done"
    if estimate is None:
        return [f"{counted}: nothing to run"]
    lines = [f"{counted}; with {workers} worker{'s' * (workers > 1)}:"]
    if estimate.prepare_seconds is not None:
        lines.append(f"  prepare  {in_words(estimate.prepare_seconds)} and the reward model")
    return [
        *lines,
        f"  train    {in_words(estimate.train_seconds)} (from {estimate.basis})",
        f"  memory   {estimate.memory_bytes / 2**30:.1f} GiB at most",
        f"  disk     {estimate.disk_bytes / 1e6:.0f} MB",
    ]
