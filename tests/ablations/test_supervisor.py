"""The supervisor's rules, played through with workers and trials that only pretend to be."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ablations import supervisor
from ablations.cells import Cell
from ablations.folder import StudyFolder
from ablations.launchers.base import Job
from ablations.records import DONE, Status
from ablations.supervisor import EARLY_DEATHS, StoppedError, Supervisor
from tests.ablations.toy import toy_plan

STRANGER = "elsewhere:1"
"""A worker that somebody started by hand."""
Fate = Callable[["World", str, Cell], int | str]
"""What becomes of a worker with a cell: the cell's new state ("ok", "failed: …"), or an exit status."""


@dataclass
class PretendedWorker:
    name: str
    status: int | None = None
    is_up: bool = False
    was_asked: bool = False
    was_killed: bool = False

    def exit_status(self) -> int | None:
        return self.status

    def last_words(self) -> str:
        return "the disk is full"

    def ask_to_stop(self) -> None:
        self.was_asked = True

    def kill(self) -> None:
        self.was_killed = True
        self.status = -signal.SIGKILL


@dataclass
class World:
    """Trials, launcher and time in one: each `time.sleep` lets every worker do one thing.

    A worker comes up, takes the next cell that waits, meets its fate with it, and ends when none waits.
    """

    folder: StudyFolder
    fate: Fate
    workers: list[PretendedWorker] = field(default_factory=list)
    on_tick: Callable[["World"], None] = lambda world: None

    def __post_init__(self) -> None:
        self.outline = toy_plan().outline
        self.cells = {name: Status(cell, "waiting", 0) for name, cell in self.outline.cells.items()}

    # as Trials

    def status(self) -> list[Status]:
        return list(self.cells.values())

    def sweep(self) -> None:
        living = {worker.name for worker in self.living} | {STRANGER}
        for status in self.status():
            if status.state == "running" and status.worker not in living:
                self.set(status.cell, "waiting")

    def enqueue(self, *states: str) -> None:
        for status in self.status():
            if status.state in states:
                self.set(status.cell, "waiting")

    # as Launcher

    room = 2

    def threads(self, workers: int) -> int:
        return 1

    def describe(self, workers: int) -> str:
        return f"{workers} pretended workers"

    def start(self, name: str, job: Job) -> PretendedWorker:
        self.workers.append(PretendedWorker(name))
        return self.workers[-1]

    # as time

    def tick(self, seconds: float) -> None:
        self.on_tick(self)
        for worker in self.living:
            if worker.was_asked:
                worker.status = 0
            elif not worker.is_up:
                worker.is_up = True
            elif mine := [s for s in self.status() if s.worker == worker.name]:
                self._meet(worker, mine[0].cell)
            elif waiting := [s for s in self.status() if s.state == "waiting"]:
                self.set(waiting[0].cell, "running", worker=worker.name)
            else:
                worker.status = 0

    def _meet(self, worker: PretendedWorker, cell: Cell) -> None:
        fate = self.fate(self, worker.name, cell)
        if isinstance(fate, int):
            worker.status = fate
        elif fate != "running":
            state, _, error = fate.partition(": ")
            self.set(cell, state, error or None)

    # what tests look at

    @property
    def living(self) -> list[PretendedWorker]:
        return [worker for worker in self.workers if worker.status is None]

    def set(self, cell: Cell, state: Any, error: str | None = None, worker: str | None = None) -> None:
        self.cells[cell.name] = replace(self.cells[cell.name], state=state, error=error, worker=worker)

    def states(self) -> list[str]:
        return [status.state for status in self.status()]

    def run(self, workers: int = 2) -> None:
        job = Job(self.folder.home, "toy", self.folder.path, threads=1)
        Supervisor(self, self, job, workers).run()  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    def make(fate: Fate = lambda *_: "ok", **changes: Any) -> World:
        made = World(StudyFolder(tmp_path, "toy"), fate, **changes)
        monkeypatch.setattr(supervisor.time, "sleep", made.tick)
        return made

    return make


Make = Callable[..., World]


def test_workers_are_started_while_cells_wait_and_no_more_than_asked_for(world: Make) -> None:
    most: list[int] = []
    made = world(on_tick=lambda world: most.append(len(world.living)))
    made.run(workers=3)
    assert made.states() == ["ok"] * 4
    assert max(most) == 3
    assert len(made.workers) == 3  # each went on to the next cell; nobody died


def test_no_more_workers_are_started_than_cells_wait(world: Make) -> None:
    made = world()
    for cell in list(made.outline.cells.values())[1:]:
        made.set(cell, "ok")
    made.run(workers=3)
    assert len(made.workers) == 1


def test_a_cell_that_a_worker_started_by_hand_trains_is_waited_for_and_left_to_it(world: Make) -> None:
    ticks: list[int] = []

    def finish(world: World) -> None:
        ticks.append(len(world.workers))
        if len(ticks) == 20:
            world.set(cell, "ok")

    made = world(on_tick=finish)
    cell = made.outline.cells["vanilla/s0"]
    made.set(cell, "running", worker=STRANGER)
    made.run(workers=1)
    assert made.states() == ["ok"] * 4
    assert ticks[-1] == 1


def test_every_worker_has_a_name_of_its_own(world: Make) -> None:
    made = world(lambda world, name, cell: -9 if len(world.workers) < 4 else "ok")
    made.run()
    assert len({worker.name for worker in made.workers}) == len(made.workers) > 2


def test_a_worker_that_ended_as_nothing_waited_is_started_again_when_a_cell_comes_back(
    world: Make,
) -> None:
    def fate(world: World, name: str, cell: Cell) -> int | str:
        if name != world.workers[0].name:
            return "ok"
        return "running" if len(world.living) > 1 else -9  # when the other has done the rest

    made = world(fate)
    made.run()
    assert made.states() == ["ok"] * 4
    assert [worker.status for worker in made.workers[:2]] == [-9, 0]
    assert len(made.workers) == 3


def test_the_dead_are_replaced_and_their_cells_put_back(world: Make) -> None:
    deaths = iter([-9, -11])
    made = world(lambda *_: next(deaths, "ok"))
    made.run()
    assert made.states() == ["ok"] * 4
    assert len(made.workers) == 4


def test_a_study_whose_workers_all_die_early_is_stopped(world: Make) -> None:
    made = world()
    made.on_tick = lambda world: [setattr(w, "status", -4) for w in world.living]  # before any claim
    with pytest.raises(StoppedError, match=f"{EARLY_DEATHS} workers were killed by signal 4 before"):
        made.run()
    assert EARLY_DEATHS <= len(made.workers) <= EARLY_DEATHS + 2


def test_a_worker_that_gives_up_stops_the_study_with_its_last_words(world: Make) -> None:
    made = world(lambda world, name, cell: 3 if name == world.workers[0].name else "running")
    with pytest.raises(StoppedError, match="the disk is full"):
        made.run()
    assert made.workers[1].was_asked
    assert not made.living


def test_ctrl_c_asks_every_worker_to_stop_and_waits_for_them(world: Make) -> None:
    def interrupt(world: World) -> None:
        if "running" in world.states() and not any(worker.was_asked for worker in world.workers):
            raise KeyboardInterrupt

    made = world(on_tick=interrupt)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert [worker.was_asked for worker in made.workers] == [True, True]
    assert not made.living
    assert not any(worker.was_killed for worker in made.workers)


def test_a_second_ctrl_c_kills(world: Make) -> None:
    def interrupt(world: World) -> None:
        if "running" in world.states():
            raise KeyboardInterrupt

    made = world(on_tick=interrupt)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert all(worker.was_asked and worker.was_killed for worker in made.workers)


def test_a_failed_cell_is_left_alone(world: Make) -> None:
    made = world(lambda *_: "failed: no")
    made.run()
    assert made.states() == ["failed"] * 4


def test_a_finished_study_starts_no_worker(world: Make) -> None:
    made = world()
    for cell, state in zip(made.outline.cells.values(), [*DONE, *DONE], strict=False):
        made.set(cell, state)
    made.run()
    assert not made.workers
