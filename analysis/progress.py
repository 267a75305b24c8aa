"""A progress bar with the time left, for what takes longer than a moment."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """A bar whose length is the work expected, so that the time left can be told from the work done."""

    def __init__(self, progress: Progress) -> None:
        """Begin with nothing to do.

        Args:
            progress: what draws the bar.
        """
        self._progress = progress
        self._task = progress.add_task("", total=0)
        self.expected = self.finished = 0.0

    def expect(self, work: float) -> None:
        """Add work that is to be done; its unit is about a second."""
        self.expected += work
        self._progress.update(self._task, total=self.expected)

    def say(self, text: str) -> None:
        """Say what is being done."""
        self._progress.update(self._task, description=text, refresh=True)

    def done(self, work: float) -> None:
        """Take note of work that has been done."""
        self.finished += work
        self._progress.update(self._task, advance=work)


@contextmanager
def progress_bar(title: str, console: Console | None = None) -> Iterator[Bar]:
    """Show a bar with the time left where the console is a terminal, and nothing elsewhere.

    Args:
        title: of the whole job.
        console: where; the error output by default.
    """
    console = console or Console(stderr=True)
    columns = (TextColumn(f"{title}: {{task.description}}"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield Bar(progress)
