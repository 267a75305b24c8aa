"""SIGKILL at random moments, to workers and parent: nothing lost, nothing twice, the same numbers."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from ablations.folder import StudyFolder
from ablations.runner import Options, ablate
from tests.ablations.toy import TOY, points, run_names, toy
from workbench.yaml_files import read_yaml

WAIT_SECONDS = 120.0


def start(home: Path, file: Path) -> subprocess.Popen[bytes]:
    """Start `workbench ablate` as a user does."""
    command = [sys.executable, "-m", "workbench.cli", "ablate", str(file), "--home", str(home)]
    return subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.DEVNULL)


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


def workers_of(parent: int) -> list[int]:
    """Return the process ids of a process's living children."""
    return [child.pid for child in psutil.Process(parent).children()]


def trained(home: Path) -> list[Path]:
    """Return the checkpoints that there are."""
    return list(StudyFolder(home, "toy").path.glob("cells/*/checkpoint-*"))


def test_a_study_killed_at_random_moments_ends_as_the_undisturbed_one(
    prepared: Path, undisturbed: Path, tmp_path: Path
) -> None:
    file, rng = tmp_path / "toy.yaml", random.Random(0)
    file.write_text(str(TOY))  # a Python literal of dictionaries, lists and words is YAML, too
    assert read_yaml(file) == TOY

    parent = start(prepared, file)
    wait_for(lambda: trained(prepared), "a first checkpoint")
    time.sleep(rng.uniform(0, 0.3))
    for worker in workers_of(parent.pid)[:1]:
        os.kill(worker, signal.SIGKILL)
    time.sleep(rng.uniform(0, 0.3))
    orphans = workers_of(parent.pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for orphan in orphans[:1]:  # the other one sees that its parent is gone
        os.kill(orphan, signal.SIGKILL)

    statuses = ablate(toy(), prepared, Options(workers=2, command="again"))
    assert all(status.state in ("ok", "collapsed") for status in statuses)
    assert run_names(prepared) == run_names(undisturbed)
    assert points(prepared) == points(undisturbed)
