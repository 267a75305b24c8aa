"""What a run has to say to MLflow, written down as it happens: a line of JSON each, in order.

Training writes the spool, the uploader reads it, and neither waits for the other. The kinds of entry:

    open    who the run is and where it belongs: name, experiment, store, parameters, tags
    text    an artifact
    step    the metrics of one step
    final   the metrics of the whole run
    end     outcome and status

`time` is the moment of writing, in milliseconds since 1970.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Any, Literal

from workbench.checkpoint import CheckpointError, Record, cannot_write
from workbench.locks import LockedError, holder, try_to_hold

Entry = dict[str, Any]
Kind = Literal["open", "text", "step", "final", "end"]

NAME = "spool.jsonl"
LOCK = "spool.lock"
SYNC_SECONDS = 60.0
"""How long a run waits for a `workbench sync` that is uploading its spool."""


@dataclass
class Spool:
    """The spool of one run, open for writing.

    Attributes:
        path: of the file.
        last_step: the last step that is written, or −1.
    """

    path: Path
    last_step: int
    _file: FileIO
    _lock: IO[str]

    def log(self, records: Sequence[Record]) -> None:
        """Write the records of new steps; of one that is done again after a crash the first counts.

        Raises:
            CheckpointError: if the disk is full.
        """
        for step, metrics in records:
            if step > self.last_step:
                self.write("step", {"step": step, "metrics": metrics})
                self.last_step = step

    def write(self, kind: Kind, content: Mapping[str, Any]) -> None:
        """Append an entry, whole or not at all.

        Raises:
            CheckpointError: if the disk is full.
        """
        entry = {"kind": kind, "time": int(time.time() * 1000), **content}
        line = memoryview(f"{json.dumps(entry)}\n".encode())
        before = os.fstat(self._file.fileno()).st_size
        try:
            while line:  # a disk that gets full takes a part first, and then refuses
                line = line[self._file.write(line) :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(before)
            raise cannot_write(self.path, error) from error

    def share(self) -> IO[str]:
        """Return what keeps other processes from the spool until it is closed, even after the run."""
        return os.fdopen(os.dup(self._lock.fileno()))

    def flush(self) -> None:
        """See the file safely on the disk.

        Raises:
            CheckpointError: if the disk is full.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error


@contextmanager
def open_spool(folder: Path, run: str) -> Iterator[Spool]:
    """Hold the spool of a run inside the block, new or as it was left.

    Args:
        folder: of the run.
        run: its fingerprint.
    Raises:
        CheckpointError: if it belongs to another run, is held by another process, or the disk is full.
    """
    path = folder / NAME
    with ExitStack() as opened:
        try:
            lock = opened.enter_context(held_spool(folder, SYNC_SECONDS))
            file = opened.enter_context(path.open("ab", buffering=0))
            spool = Spool(path, _last_step(path, run), file, lock)
        except LockedError as error:
            raise CheckpointError(f"{error}; wait for it to end, or stop it") from error
        except OSError as error:
            raise cannot_write(path, error) from error
        yield spool


@contextmanager
def held_spool(folder: Path, patience_seconds: float = 0.5) -> Iterator[IO[str]]:
    """Hold the spool in a folder inside the block, without a last line that a crash cut off.

    Yields:
        the lock.
    Raises:
        LockedError: if a living process holds it.
    """
    path = folder / NAME
    lock = try_to_hold(folder / LOCK, patience_seconds)
    if lock is None:
        raise LockedError(f"{path} is in the hands of process {holder(folder / LOCK)}")
    with lock:
        if path.is_file():
            os.truncate(path, max((end for _, end in read(path)), default=0))
        yield lock


def read(path: Path, start: int = 0) -> Iterator[tuple[Entry, int]]:
    """Yield the entries from a position on, each with the position where it ends.

    Stops before a line that is not whole: it is being written, or a crash cut it off.
    """
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                return
            if entry is None:
                return
            start += len(line)
            yield entry, start


def _last_step(path: Path, run: str) -> int:
    last = -1
    for entry, _ in read(path):
        if entry["kind"] == "open" and entry["run"] != run:
            raise CheckpointError(
                f"{path} belongs to a run with other settings; delete {path.parent} to start anew"
            )
        last = max(last, entry.get("step", -1))
    return last
