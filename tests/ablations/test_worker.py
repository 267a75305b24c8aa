"""A worker that makes models of a cell's own seed: alive meanwhile, one failed cell."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from ablations import worker
from ablations.liveness import Stop
from ablations.opening import open_trials
from ablations.processes import Process
from ablations.runner import begun, prepare_study
from ablations.trials import Trials
from ablations.worker import STOPPED, Worker
from tests.ablations.toy import OPTIONS, TOY, toy
from tests.mlflow_server import wait_for
from workbench.progress import track
from workbench.stages.prepare import Prepared, prepare
from workbench.training import Run

OWN_MODELS = {"reward_model": {**TOY["prepare"]["reward_model"], "seed": "run"}}
STUDY = toy(prepare={**TOY["prepare"], **OWN_MODELS}, arms={"vanilla": "vanilla"})
Preparing = Callable[[Callable[[], Any]], None]


@pytest.fixture
def here(prepared: Path) -> tuple[Worker, Trials]:
    """A worker in this process, and the trials of a study of two seeds with a reward model each."""
    with begun(STUDY, prepared, OPTIONS) as (folder, plan, task):
        trials = open_trials(folder, plan)
        trials.enqueue("missing")
        prepare_study(folder, plan, task)
    return Worker(folder, plan, Stop(), Process.this()), trials


@pytest.fixture
def while_preparing(monkeypatch: pytest.MonkeyPatch) -> Preparing:
    """Let something happen while models of seed 1 are made."""

    def happens(act: Callable[[], Any]) -> None:
        def prepare_and_act(task: Any, settings: Any, *others: Any) -> Prepared:
            if settings.reward_model.seed == 1:
                act()
            return prepare(task, settings, *others)

        monkeypatch.setattr(worker, "prepare", prepare_and_act)

    return happens


def states(trials: Trials) -> list[str]:
    return [status.state for status in trials.status()]


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_a_worker_gives_signs_of_life_while_it_makes_models_and_counts_no_iterations(
    here: tuple[Worker, Trials], while_preparing: Preparing
) -> None:
    own, trials = here

    def make_for_long() -> None:
        [running] = [trial for trial in trials.study.trials if trial.state.name == "RUNNING"]
        before = trials._beat_of(running).count
        list(track(range(3), total=9, title="reward model"))
        wait_for(lambda: trials._beat_of(running).count > before + 1, "two signs of life")
        assert trials._beat_of(running).done == 0

    while_preparing(make_for_long)
    assert own.work(until_done=False) == 0
    assert states(trials) == ["ok", "ok"]


def test_a_cell_is_said_to_be_at_its_last_checkpoint_while_its_models_are_made(
    here: tuple[Worker, Trials], while_preparing: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, trials = here
    iterate = Run._iterate

    def stop_in_time(run: Run, k: int) -> dict[str, float]:
        own.stop.is_asked = run.seed == 1 and k == 1
        return iterate(run, k)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_iterate", stop_in_time)
        assert own.work(until_done=False) == 0
    own.stop.is_asked = False
    own.folder.beat("vanilla/s1").unlink()  # as if the process had died before it told
    reached: list[int] = []
    while_preparing(lambda: reached.extend(status.iteration for status in trials.status()))
    assert own.work(until_done=False) == 0
    assert reached == [4, 2]
    assert states(trials) == ["ok", "ok"]


def test_a_cell_whose_models_cannot_be_made_fails_and_the_others_go_on(
    here: tuple[Worker, Trials], while_preparing: Preparing
) -> None:
    own, trials = here
    while_preparing(failing(MemoryError("out of memory")))
    assert own.work(until_done=False) == 0
    assert states(trials) == ["ok", "failed"]
    assert trials.status()[1].error == "MemoryError: out of memory"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "stage.json"),
            "cannot use stage.json: No space left on device",
        ),
        (SafetensorError("No space left on device"), "SafetensorError: No space left on device"),
    ],
)
def test_a_full_disk_while_models_are_made_stops_the_worker_and_fails_no_trial(
    here: tuple[Worker, Trials],
    while_preparing: Preparing,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    why: str,
) -> None:
    own, trials = here
    while_preparing(failing(error))
    assert own.work(until_done=False) == STOPPED
    assert states(trials) == ["ok", "waiting"]
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"cannot make the models of vanilla/s1: {why}; mend that, then run the same command again"
    )
