"""How a running study is shown: a live view with the time left, or plain lines without a terminal."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ablations.outline import Outline
from ablations.records import Status
from ablations.standings import Standing, counts, standings
from workbench.progress import in_words

QUIET_SECONDS = 10.0
RUNS_SHOWN, ARMS_SHOWN = 16, 5
BAR_WIDTH = 30


class Display:
    """Shows what runs, how far all of it is, the best and the collapsed arms; says when a cell ends."""

    def __init__(self, outline: Outline) -> None:
        """Set up the view; the iteration is the unit of progress."""
        self._outline = outline
        self._total = outline.iterations * outline.runs
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._finished: set[str] | None = None
        self._begin: tuple[float, int] | None = None
        self._line = time.monotonic()

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        if self._console.is_terminal:
            self._live.stop()

    def say(self, message: str) -> None:
        """Write a line above the view."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def show(self, statuses: list[Status]) -> None:
        """Show how the cells stand."""
        self._announce(statuses)
        done = sum(self._done(status) for status in statuses)
        left = self._left(done)
        if self._console.is_terminal:
            self._live.update(self.view(statuses, done, left), refresh=True)
        elif time.monotonic() - self._line > QUIET_SECONDS:
            self._line = time.monotonic()
            ended = sum(status.is_done for status in statuses)
            self.say(
                f"{ended}/{len(statuses)} cells, {done}/{self._total} iterations{left and ', '}{left}"
            )

    def view(self, statuses: list[Status], done: int, left: str) -> RenderableType:
        """Return the live view: all cells, each that runs, the best arms, the collapsed ones."""
        head = _row("all cells", done, self._total, f"{_counted(statuses)}{left and '   '}{left}")
        running = [status for status in statuses if status.state == "running"]
        rows = [head]
        for status in running[:RUNS_SHOWN]:
            worker = f"on {status.worker}" if status.worker else ""
            rows.append(_row(status.cell.name, status.iteration, self._outline.iterations, worker))
        if len(running) > RUNS_SHOWN:
            rows.append((f"… and {len(running) - RUNS_SHOWN} more", "", "", ""))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*row)
        return Group(table, *_best_and_worst(standings(statuses)))

    def _announce(self, statuses: list[Status]) -> None:
        ended = {status.cell.name: status for status in statuses if status.is_over}
        for name in ended if self._finished is not None else ():
            if name not in (self._finished or ()):
                self.say(f"{name}: {describe(ended[name])}")
        self._finished = set(ended)

    def _done(self, status: Status) -> int:
        return self._outline.iterations if status.is_over else status.iteration

    def _left(self, done: int) -> str:
        """Extrapolate from the iterations since this command began to train."""
        now = time.monotonic()
        if self._begin is None or done < self._begin[1]:
            self._begin = (now, done)
        start, first = self._begin
        if done == first:
            return ""
        return f"{in_words((now - start) / (done - first) * (self._total - done))} left"


def describe(status: Status) -> str:
    """Say how a cell ended, in a few words."""
    if status.state == "failed":
        return f"failed: {status.error}"
    if status.value is None:
        return status.state
    return f"{status.state}, final gold or win rate {status.value:.3f}"


def _row(name: str, done: int, total: int, rest: str) -> tuple[RenderableType, ...]:
    bar = ProgressBar(total=total, completed=done, width=BAR_WIDTH)
    return Text(name), bar, f"{done}/{total}", Text(rest)


def _counted(statuses: list[Status]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts(statuses).items())


def _best_and_worst(arms: list[Standing]) -> list[Text]:
    """Say in a line each which arms score best so far, and which collapsed."""
    scored = [arm for arm in arms if arm.score is not None]
    best = sorted(scored, key=lambda arm: -(arm.score or 0.0))[:ARMS_SHOWN]
    fallen = sorted((arm for arm in arms if arm.collapsed), key=lambda arm: -arm.collapsed)[:ARMS_SHOWN]
    lines = []
    if best:
        names = ", ".join(f"{arm.arm} {arm.score:.3f} (n = {arm.done})" for arm in best)
        lines.append(Text(f"best so far: {names}", style="green"))
    if fallen:
        names = ", ".join(f"{arm.arm} {arm.collapsed} of {arm.done}" for arm in fallen)
        lines.append(Text(f"collapsed: {names}", style="yellow"))
    return lines
