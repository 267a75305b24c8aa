"""Disks that get full at a moment of a test's choosing."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

MEGABYTES = 16


class Disk(Protocol):
    """A disk on which a folder lies."""

    def fill(self, left: int, processes: Iterable[int]) -> None:
        """Leave room for so many bytes; `processes` are those that write to it, by their ids."""
        ...

    def make_room(self) -> None:
        """Undo it."""
        ...


class Tmpfs:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self, left: int, processes: Iterable[int]) -> None:
        with suppress(OSError), self._filler.open("wb") as file:  # others may take room meanwhile
            file.write(bytes(shutil.disk_usage(self._filler.parent).free - left))

    def make_room(self) -> None:
        self._filler.unlink()


class LimitedFiles:
    """No disk of its own: the kernel refuses the processes to let a file grow beyond some bytes."""

    def __init__(self) -> None:
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, left: int, processes: Iterable[int]) -> None:
        for process in [os.getpid(), *processes]:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (left, self._before[1]))

    def make_room(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


@contextmanager
def limited_files(folder: Path) -> Iterator[Disk]:
    """Let files stand in for a disk inside the block, wherever the folder lies."""
    disk = LimitedFiles()
    try:
        yield disk
    finally:
        disk.make_room()


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Put an empty folder on a disk of a few megabytes inside the block.

    Where nothing may be mounted, which is said, limited files stand in for it.
    """
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    refusal = subprocess.run(command, capture_output=True, text=True).stderr.strip()
    if refusal:
        print(f"no disk of its own, files that cannot grow stand in for a full one: {refusal}")
        with limited_files(folder) as disk:
            yield disk
        return
    try:
        yield Tmpfs(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
