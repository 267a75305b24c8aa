"""The thread that delivers a run's spool while the run trains."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

from workbench.errors import one_sentence
from workbench.tracking.delivery import Delivery
from workbench.tracking.store import AwayError, pauses

POLL_SECONDS = 0.1
LATER = "nothing is lost: the run's spool is kept, and `workbench sync` uploads it"


class Uploader:
    """Delivers a spool in the background while its run trains; training never waits for it."""

    def __init__(self, delivery: Delivery, interval_seconds: float, hold: IO[str]) -> None:
        """Name what to deliver and how often to look for more.

        Args:
            delivery: of the run.
            interval_seconds: between two looks.
            hold: keeps other processes from the spool; closed when this one sends no more, which may
                be after the run has given up waiting: two that create one run would create two.
        """
        self.delivery = delivery
        self._interval_seconds, self._hold = interval_seconds, hold
        self._is_ending, self._is_given_up = threading.Event(), threading.Event()
        self._is_delivered = False
        self._away: AwayError | None = None
        self._thread = threading.Thread(target=self._work, name="uploader", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what is not delivered."""
        self._is_given_up.set()

    def finish(self, patience: Callable[[], float]) -> bool:
        """Deliver the rest.

        Args:
            patience: seconds to wait for it at most, asked again and again.
        Returns:
            whether all has arrived; if not, why was said.
        """
        start = time.monotonic()
        self._is_ending.set()
        while self._thread.is_alive() and time.monotonic() - start < patience():
            self._thread.join(POLL_SECONDS)
        self._is_given_up.set()
        if self._thread.is_alive() and not self._is_delivered:
            reason = self._away or "the MLflow store takes its time"
            _say(f"{reason}; {LATER}")
        return self._is_delivered

    def _work(self) -> None:
        with self._hold:
            waits = pauses()
            while not self._is_given_up.is_set():
                is_last = self._is_ending.is_set()
                try:
                    self.delivery.advance()
                except AwayError as error:
                    self._away = error
                    self._is_given_up.wait(next(waits))
                except Exception as error:
                    _say(f"{one_sentence(error)}; {LATER}")
                    return
                else:
                    if is_last:
                        self._is_delivered = True
                        return
                    self._away, waits = None, pauses()
                    self._is_ending.wait(self._interval_seconds)


def _say(message: str) -> None:
    with suppress(OSError):  # it may go into a file, on a disk that is full
        print(f"workbench: {message}", file=sys.stderr, flush=True)
