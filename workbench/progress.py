"""Progress bars with the time left; plain lines where there is no terminal."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

QUIET_SECONDS = 10.0
"""Without a terminal, a line is written this often."""

Report = Callable[[int, int, str], None]
_listeners: list[Report] = []


@contextmanager
def listening(report: Report) -> Iterator[None]:
    """Send the progress of every `track` inside to `report(done, total, title)`, instead of a bar.

    Args:
        report: called with steps done, steps in all, and the title.
    """
    _listeners.append(report)
    try:
        yield
    finally:
        _listeners.remove(report)


def track(steps: Iterable[T], *, total: int, title: str) -> Iterator[T]:
    """Yield the steps while the main process shows how many are done and how long the rest takes.

    Args:
        steps: what to iterate over.
        total: how many there are.
        title: what is being done.
    """
    from workbench.parallel import (
        is_main,  # here, so that to say how long something takes needs no torch
    )

    if not is_main():
        yield from steps
    elif _listeners:
        yield from _told(steps, total, title, _listeners[-1])
    elif sys.stderr.isatty():
        yield from _drawn(steps, total, title)
    else:
        yield from _told(steps, total, title, _PlainLines())


def _told(steps: Iterable[T], total: int, title: str, report: Report) -> Iterator[T]:
    for done, step in enumerate(steps, start=1):
        yield step
        report(done, total, title)


def _drawn(steps: Iterable[T], total: int, title: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield from bar.track(steps, total=total, description=title)


def say(line: str) -> None:
    """Let the main process write a line beside its bars; an empty one is not written."""
    from workbench.parallel import is_main

    if line and is_main():
        print(line, file=sys.stderr, flush=True)


def in_words(seconds: float) -> str:
    """Write a duration as 45 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _PlainLines:
    """Write a line when QUIET_SECONDS have passed, and one at the end."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()

    def __call__(self, done: int, total: int, title: str) -> None:
        now = time.monotonic()
        if done < total and now - self.last < QUIET_SECONDS:
            return
        self.last = now
        left = (now - self.start) / done * (total - done)
        print(f"{title}: {done}/{total}, {in_words(left)} left", file=sys.stderr, flush=True)
