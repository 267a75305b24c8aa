"""Two people start one study at the same moment: two real processes, on one disk or one database."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from ablations.cells import Cell
from ablations.folder import find_study
from ablations.launchers.base import Job
from ablations.liveness import Stop
from ablations.opening import look_at_trials
from ablations.runner import Options, ablate
from ablations.trials import Trials
from ablations.worker import work
from tests.ablations.evidence import artifacts, assert_one_trial_each, assert_undisturbed, files, values
from tests.ablations.forked import CONTEXT, forked
from tests.ablations.toy import points, run_names, toy
from tests.mlflow_server import WAIT_SECONDS, wait_for
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


Meet = Callable[[Barrier], None]


def at_once(together: Barrier) -> None:
    """Wait for the other process before anything is done."""
    together.wait()


def before_enqueueing(together: Barrier) -> None:
    """Let this process wait, when it has seen that every cell is missing, until the other has."""
    enqueue = Trials._enqueue

    def wait_and_enqueue(trials: Trials, cell: Cell) -> None:
        Trials._enqueue = enqueue  # type: ignore[method-assign]
        together.wait()
        enqueue(trials, cell)

    Trials._enqueue = wait_and_enqueue  # type: ignore[method-assign]


def start_study(home: Path, log: Path, meet: Meet, together: Barrier, options: Options) -> None:
    """Do what `workbench ablate` does, and meet another process that does it, too."""
    with log.open("wb") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    meet(together)
    try:
        ablate(toy(), home, options)
    except Exception as error:
        print(one_sentence(error), file=sys.stderr)
        sys.exit(REFUSED)


@contextmanager
def started(homes: list[Path], meet: Meet, go: Path, **given: Any) -> Iterator[list[ForkServerProcess]]:
    """Start the toy study in both homes, where two processes meet; wait for the end of both."""
    together = CONTEXT.Barrier(len(homes), timeout=WAIT_SECONDS)
    options = forked(workers=1, launcher=Here(go), **given)
    both = [
        CONTEXT.Process(
            target=start_study, args=(home, log_of(go, number), meet, together, options), daemon=True
        )
        for number, home in enumerate(homes)
    ]
    for process in both:
        process.start()
    yield both
    for process in both:
        process.join()


def log_of(go: Path, number: int) -> Path:
    return go.with_name(f"{number}.log")


def test_of_two_starts_on_one_disk_one_is_refused_and_nothing_is_lost_or_twice(
    prepared: Path, undisturbed: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with started([prepared, prepared], at_once, go) as both:
        wait_for(lambda: REFUSED in [process.exitcode for process in both], "a refusal")
        go.touch()
    assert sorted(process.exitcode or 0 for process in both) == [0, REFUSED]
    refused, other = sorted(range(2), key=lambda number: -(both[number].exitcode or 0))
    sentence = log_of(go, refused).read_text()
    assert f"study toy is already running as process {both[other].pid};" in sentence
    assert_undisturbed(prepared, undisturbed)


def test_two_starts_on_one_database_share_the_cells_and_none_is_trained_twice(
    prepared: Path, undisturbed: Path, postgres: str, tmp_path: Path
) -> None:
    homes = [prepared, tmp_path / "another host"]
    shutil.copytree(undisturbed / "prepared", homes[1] / "prepared")
    go = tmp_path / "go"
    store = f"sqlite:///{prepared / 'mlflow.db'}"
    database = new_database(postgres)
    with started(homes, before_enqueueing, go, storage=database, tracking_uri=store) as both:
        waited_for = [home / "studies" / "toy" / "prepared.json" for home in homes]
        wait_for(
            lambda: all(map(Path.exists, waited_for)) or any(one.exitcode for one in both), "both starts"
        )
        go.touch()
    said = [log_of(go, number).read_text() for number in range(len(both))]
    assert [process.exitcode for process in both] == [0, 0], said
    first, second = (find_study(home, "toy") for home in homes)
    expected = find_study(undisturbed, "toy")
    assert_one_trial_each(first)
    trials = look_at_trials(first, first.outline()).study.trials
    assert [trial.state for trial in trials if "refused" in trial.user_attrs] == [TrialState.FAIL] * 4
    assert len(trials) == 8
    assert values(first) == values(second) == values(expected)
    assert run_names(prepared) == run_names(undisturbed)
    assert points(prepared) == points(undisturbed)
    assert artifacts(prepared) == artifacts(undisturbed)
    assert not files(first).keys() & files(second).keys()
    assert files(first) | files(second) == files(expected)
