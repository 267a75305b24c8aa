"""How a worker hears that it is to stop, and lets others hear that it is alive."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ablations.records import Claim
from ablations.trials import Trials

PARENT_SECONDS = 1.0


class StopNow(BaseException):
    """A request to stop, amid what does not look for one; no Exception, which a library might handle."""


@dataclass
class Stop:
    """Whether this process was asked to stop, by a signal or by the end of its parent."""

    is_asked: bool = False
    _is_urgent: bool = field(default=False, init=False)

    def listen(self, parent: int | None) -> None:
        """Listen to Ctrl-C, to SIGTERM, and to the parent's end if there is a parent to look after.

        Args:
            parent: process id of the parent; None for a worker that somebody started by hand.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._ask())
        if parent is None:
            return
        if sys.platform == "linux":
            set_parent_death_signal = 1
            ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
        threading.Thread(target=self._watch, args=(parent,), daemon=True).start()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a request to stop, also an earlier one, end the block, which does not look for it.

        Raises:
            StopNow: once, so that the block can clean up.
        """
        self._is_urgent = True
        try:
            self._obey()
            yield
        finally:
            self._is_urgent = False

    def _ask(self) -> None:
        self.is_asked = True
        self._obey()

    def _obey(self) -> None:
        if self._is_urgent and self.is_asked:
            self._is_urgent = False
            raise StopNow

    def _watch(self, parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)  # the main thread hears it, whatever it waits for


@dataclass
class Pulse:
    """Gives signs of life for a claim from a thread of its own, however long anything takes.

    Attributes:
        trials: of the study.
        claim: what is trained.
        iterations: of a whole run; `track` counts those that are left after a checkpoint.
        done: iterations done.
    """

    trials: Trials
    claim: Claim
    iterations: int
    done: int = field(default=0, init=False)
    _is_over: threading.Event = field(default_factory=threading.Event, init=False)

    def __call__(self, done: int, total: int, title: str) -> None:
        """Take a report on the run's iterations from `workbench.progress.track`."""
        self.done = self.iterations - total + done

    @contextmanager
    def beating(self, reached: int) -> Iterator[None]:
        """Give signs of life inside the block, and one at its end.

        Args:
            reached: iterations that a checkpoint has kept. They are told at once: a cell that gets
                further each time must not be taken for one that kills its process.
        """
        self.done = max(self.claim.beat.done, reached)
        if self.done > self.claim.beat.done:
            self.trials.beat(self.claim, self.done)
        thread = threading.Thread(target=self._beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()
            self.trials.beat(self.claim, self.done)

    def _beat(self) -> None:
        while not self._is_over.wait(self.trials.beat_seconds):
            self.trials.beat(self.claim, self.done)
