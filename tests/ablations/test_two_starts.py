"""Two people start one study at the same moment: two real processes, on one disk or one database."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from ablations.folder import find_study
from ablations.launchers.base import Job
from ablations.liveness import Stop
from ablations.runner import ablate
from ablations.worker import work
from tests.ablations.evidence import artifacts, assert_one_trial_each, assert_undisturbed, files, values
from tests.ablations.forked import CONTEXT, forked
from tests.ablations.toy import points, run_names, toy
from tests.mlflow_server import wait_for
from tests.postgres import new_database
from workbench.errors import one_sentence

REFUSED = 2


@dataclass(frozen=True)
class Ended:
    """A worker that has worked in the process which started it."""

    name: str
    status: int

    def exit_status(self) -> int:
        return self.status

    def last_words(self) -> str:
        return ""

    def ask_to_stop(self) -> None:
        pass

    def kill(self) -> None:
        pass


@dataclass(frozen=True)
class Here:
    """A launcher whose workers work in the process that starts them, once a file is there."""

    go: Path
    room = 1

    def threads(self, workers: int) -> int:
        return 1

    def describe(self, workers: int) -> str:
        return "worker: this process"

    def start(self, name: str, job: Job) -> Ended:
        wait_for(self.go.exists, self.go.name)
        return Ended(name, work(find_study(job.home, job.study), Stop(), name=name))


def start_study(home: Path, log: Path, together: Any, go: Path, given: dict[str, Any]) -> None:
    """Do what `workbench ablate` does, when the other process is as far."""
    with log.open("wb") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    together.wait()
    try:
        ablate(toy(), home, forked(workers=1, launcher=Here(go), **given))
    except Exception as error:
        print(one_sentence(error), file=sys.stderr)
        sys.exit(REFUSED)


@contextmanager
def started(homes: list[Path], go: Path, **given: Any) -> Iterator[list[ForkServerProcess]]:
    """Start the toy study in both homes at the same moment; wait for the end of both."""
    together = CONTEXT.Barrier(len(homes))
    logs = [go.with_name(f"{number}.log") for number in range(len(homes))]
    both = [
        CONTEXT.Process(target=start_study, args=(home, log, together, go, given), daemon=True)
        for home, log in zip(homes, logs, strict=True)
    ]
    for process in both:
        process.start()
    yield both
    for process in both:
        process.join()


def test_of_two_starts_on_one_disk_one_is_refused_and_nothing_is_lost_or_twice(
    prepared: Path, undisturbed: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with started([prepared, prepared], go) as both:
        wait_for(lambda: REFUSED in [process.exitcode for process in both], "a refusal")
        go.touch()
    assert sorted(process.exitcode or 0 for process in both) == [0, REFUSED]
    refused, other = sorted(range(2), key=lambda number: -(both[number].exitcode or 0))
    sentence = (tmp_path / f"{refused}.log").read_text()
    assert f"study toy is already running as process {both[other].pid};" in sentence
    assert_undisturbed(prepared, undisturbed)


def test_two_starts_on_one_database_share_the_cells_and_none_is_trained_twice(
    prepared: Path, undisturbed: Path, postgres: str, tmp_path: Path
) -> None:
    homes = [prepared, tmp_path / "another host"]
    shutil.copytree(undisturbed / "prepared", homes[1] / "prepared")
    go = tmp_path / "go"
    store = f"sqlite:///{prepared / 'mlflow.db'}"
    with started(homes, go, storage=new_database(postgres), tracking_uri=store) as both:
        waited_for = [home / "studies" / "toy" / "prepared.json" for home in homes]
        wait_for(
            lambda: all(map(Path.exists, waited_for)) or any(one.exitcode for one in both), "both starts"
        )
        go.touch()
    said = [(tmp_path / f"{number}.log").read_text() for number in range(len(both))]
    assert [process.exitcode for process in both] == [0, 0], said
    first, second = (find_study(home, "toy") for home in homes)
    expected = find_study(undisturbed, "toy")
    assert_one_trial_each(first)
    assert values(first) == values(second) == values(expected)
    assert run_names(prepared) == run_names(undisturbed)
    assert points(prepared) == points(undisturbed)
    assert artifacts(prepared) == artifacts(undisturbed)
    assert not files(first).keys() & files(second).keys()
    assert files(first) | files(second) == files(expected)
