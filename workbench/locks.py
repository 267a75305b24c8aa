"""Locks that a dead process cannot keep: the kernel lets go of them, however the process ended."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PAUSE_SECONDS = 0.05


class LockedError(RuntimeError):
    """Another process holds the lock."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock inside the block; wait for whoever has it."""
    file = open_lock(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        file.close()


def try_to_hold(path: Path, patience_seconds: float = 0.5) -> IO[str] | None:
    """Take a lock and keep it until the returned file is closed; None if it does not get free.

    Args:
        path: of the lock.
        patience_seconds: how long to try; a process that is being killed lets go a moment later.
    """
    file = open_lock(path)
    end = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                file.close()
                return None
        time.sleep(PAUSE_SECONDS)
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def is_held(path: Path) -> bool:
    """Say whether a process holds a lock, and leave it alone."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def holder(path: Path) -> int | None:
    """Return the process id that the last holder of a lock wrote into it."""
    text = path.read_text().strip()
    return int(text) if text.isdigit() else None


def write_whole(path: Path, content: object) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(content, indent=1))
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def open_lock(path: Path) -> IO[str]:
    """Open the file of a lock, made if it is not there; children do not inherit it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+")
