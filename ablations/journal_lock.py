"""The lock of an Optuna journal file."""

import fcntl
import os
from pathlib import Path
from typing import IO

from optuna.storages.journal._file import BaseJournalFileLock

from workbench.locks import open_lock


class JournalLock(BaseJournalFileLock):
    """Lock of an Optuna journal file; unlike Optuna's own it needs no grace period after a crash.

    Taking it also cuts off a last line that a crash or a full disk left unfinished, which would
    otherwise make the journal unreadable from the next line on.
    """

    def __init__(self, journal: Path) -> None:
        """Name the journal; the lock is a file beside it."""
        self._journal = journal
        self._path = journal.with_suffix(".lock")
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        """Wait for the lock and take it."""
        self._file = open_lock(self._path)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._repair()
        return True

    def release(self) -> None:
        """Let go of the lock."""
        if self._file:
            self._file.close()
            self._file = None

    def _repair(self) -> None:
        with self._journal.open("rb+") as journal:
            if journal.seek(0, os.SEEK_END) == 0:
                return
            journal.seek(-1, os.SEEK_END)
            if journal.read(1) != b"\n":
                journal.seek(0)
                journal.truncate(journal.read().rfind(b"\n") + 1)
