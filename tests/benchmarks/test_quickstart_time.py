"""The time and memory of a command are those of all its processes."""

import subprocess
import sys

import pytest

from tests.benchmarks.quickstart_time import run

CHILD = "held = bytearray(2**27); import time; time.sleep(1.5)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}], check=True)"


def test_memory_of_a_child_process_counts() -> None:
    taken = run([sys.executable, "-c", PARENT])
    assert taken.seconds > 1.5
    assert 128 < taken.peak_mebibytes < 256


def test_a_command_that_fails_is_not_timed() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run([sys.executable, "-c", "raise SystemExit(3)"])
