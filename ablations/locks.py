"""Locks that a dead process cannot keep: the kernel lets go of them, however the process ended."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from optuna.storages.journal._file import BaseJournalFileLock

ATTEMPTS = 10


class LockedError(RuntimeError):
    """Another process holds the lock."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock inside the block; wait for whoever has it."""
    file = _open(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        file.close()


def try_to_hold(path: Path) -> IO[str] | None:
    """Take a lock that is free, and keep it until the returned file is closed; None if it is not free.

    Tries for half a second, since `is_held` takes the lock for a moment.
    """
    file = _open(path)
    for _ in range(ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.05)
    else:
        file.close()
        return None
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def is_held(path: Path) -> bool:
    """Say whether a living process holds the lock."""
    if not path.exists():
        return False
    with _open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def holder(path: Path) -> int | None:
    """Return the process id that the last holder of a lock wrote into it."""
    text = path.read_text().strip()
    return int(text) if text.isdigit() else None


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
        self._file = _open(self._path)
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


def write_whole(path: Path, content: object) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+")
