"""SIGKILL at random moments, to workers and parent: nothing lost, nothing twice, the same numbers."""

import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from ablations.folder import StudyFolder
from ablations.runner import ablate
from tests.ablations.evidence import assert_undisturbed
from tests.ablations.forked import Forked, forked
from tests.ablations.killer import Killer, Remembering
from tests.ablations.toy import OPTIONS, TOY, run_here, toy
from tests.mlflow_server import WAIT_SECONDS, wait_for
from tests.postgres import new_database
from workbench.yaml_files import read_yaml

KILLS, WORKERS = 20, 3
LEFT_OUT = ("value_clip", "reward_norm", "ppo_ptx")
LEAVE_ONE_OUT: dict[str, Any] = {
    "arms": {"full": "ppo_max"}
    | {f"no_{trick}": {"recipe": "ppo_max", "without": [trick]} for trick in LEFT_OUT},
    "baseline": "full",
    "seeds": 6,
}


@pytest.fixture(scope="module")
def leave_one_out(
    undisturbed: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Home folder of the leave-one-out study that one worker ran without being disturbed."""
    home = tmp_path_factory.mktemp("leave_one_out")
    shutil.copy(empty_store, home)
    shutil.copytree(undisturbed / "prepared", home / "prepared")
    run_here(toy(**LEAVE_ONE_OUT), home)
    return home


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest) -> str | None:
    """Where the trials are."""
    if request.param == "journal":
        return None
    return new_database(request.getfixturevalue("postgres"))


def test_a_study_whose_workers_are_killed_20_times_ends_as_the_undisturbed_one(
    prepared: Path, leave_one_out: Path, storage: str | None
) -> None:
    study, launcher = toy(**LEAVE_ONE_OUT), Remembering(Forked())
    options = forked(workers=WORKERS, launcher=launcher, storage=storage)
    iterations = len(study.arms) * len(study.seeds) * study.ppo.iterations
    killer = Killer(StudyFolder(prepared, "toy"), launcher, KILLS, iterations)
    killer.start()
    ablate(study, prepared, options)
    killer.join()
    assert len(launcher.killed) == KILLS
    ablate(study, prepared, options)  # a cell killed three times before its first checkpoint has failed
    assert_undisturbed(prepared, leave_one_out)


def test_a_study_whose_parent_is_killed_goes_on_with_the_same_command(
    prepared: Path, undisturbed: Path, tmp_path: Path
) -> None:
    file, folder = tmp_path / "toy.yaml", StudyFolder(prepared, "toy")
    file.write_text(str(TOY))  # a Python literal of dictionaries, lists and words is YAML, too
    assert read_yaml(file) == TOY
    command = [sys.executable, "-m", "workbench.cli", "ablate", str(file), "--home", str(prepared)]
    parent = subprocess.Popen([*command, "--workers", str(OPTIONS.workers)], stderr=subprocess.DEVNULL)
    wait_for(lambda: list(folder.path.glob("cells/*/checkpoint-*")), "a first checkpoint")
    time.sleep(random.Random(0).uniform(0, 0.3))
    orphans = psutil.Process(parent.pid).children()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    with suppress(psutil.NoSuchProcess):
        orphans[0].kill()  # the other one sees that its parent is gone
    ablate(toy(), prepared, forked())
    _, alive = psutil.wait_procs(orphans, timeout=WAIT_SECONDS)
    assert not alive
    assert_undisturbed(prepared, undisturbed)
