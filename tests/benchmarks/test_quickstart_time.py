"""The time and memory of a command are those of all its processes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks import quickstart_time
from tests.benchmarks.quickstart_time import resident_mebibytes, run

CHILD = """
import pathlib, sys, time
has_memory, was_seen = map(pathlib.Path, sys.argv[1:])
held = bytearray(2**27)
has_memory.touch()
while not was_seen.exists():
    time.sleep(0.01)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]], check=True)"


def test_memory_and_time_of_a_child_process_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_memory, was_seen = tmp_path / "has memory", tmp_path / "was seen"
    looks: list[float] = []

    def look(process: int) -> float:
        is_whole = has_memory.exists()
        looks.append(time.perf_counter())
        found = resident_mebibytes(process)
        if is_whole:
            was_seen.touch()
        return found

    monkeypatch.setattr(quickstart_time, "resident_mebibytes", look)
    taken = run([sys.executable, "-c", PARENT, CHILD, str(has_memory), str(was_seen)])
    assert taken.seconds > looks[-1] - looks[0]
    assert 128 < taken.peak_mebibytes < 256


def test_a_command_that_fails_is_not_timed() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run([sys.executable, "-c", "raise SystemExit(3)"])
