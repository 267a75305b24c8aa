"""A worker that makes models of a cell's own seed: alive meanwhile, quick to stop, one failed cell."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from ablations import liveness, worker
from ablations.liveness import Stop, StopNow
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
def stop() -> Iterator[Stop]:
    """A request to stop, not made yet, for which this process listens."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stop = Stop()
    stop.listen(None)
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def here(prepared: Path, stop: Stop) -> tuple[Worker, Trials]:
    """A worker in this process, and the trials of a study of two seeds with a reward model each."""
    with begun(STUDY, prepared, OPTIONS) as (folder, plan, task):
        trials = open_trials(folder, plan)
        trials.enqueue("missing")
        prepare_study(folder, plan, task)
    return Worker(folder, plan, stop, Process.this()), trials


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


def be_asked_to_stop(number: signal.Signals = signal.SIGTERM) -> None:
    signal.raise_signal(number)
    pytest.fail("it went on making models")


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_to_stop_while_it_makes_models_gives_the_cell_back_at_once(
    here: tuple[Worker, Trials], while_preparing: Preparing, number: signal.Signals
) -> None:
    own, trials = here
    while_preparing(lambda: be_asked_to_stop(number))
    assert own.work(until_done=False) == 0
    assert states(trials) == ["ok", "waiting"]


def test_a_process_that_follows_ends_when_it_is_to_stop_while_it_waits_for_models(
    here: tuple[Worker, Trials], while_preparing: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, trials = here
    monkeypatch.setattr(worker, "is_main", lambda: False)
    monkeypatch.setattr(worker, "broadcast", lambda _: (trials.outline.cells["vanilla/s1"], {}))
    while_preparing(be_asked_to_stop)
    assert own.work(until_done=False) == 0


def test_a_request_to_stop_ends_what_does_not_look_for_it_once_and_lets_it_clean_up(stop: Stop) -> None:
    cleaned: list[str] = []
    with pytest.raises(StopNow), stop.at_once():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned.append("all")
    assert cleaned == ["all"]


def test_a_request_to_stop_from_before_ends_what_would_not_look_for_it(stop: Stop) -> None:
    signal.raise_signal(signal.SIGTERM)
    assert stop.is_asked
    with pytest.raises(StopNow), stop.at_once():
        pytest.fail("it began")


def test_the_end_of_the_parent_is_a_request_like_any_other(
    stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "other")  # without Linux's own signal
    monkeypatch.setattr(liveness, "PARENT_SECONDS", 0.0)
    ended: list[int] = []
    monkeypatch.setattr(os, "getppid", lambda: 0 if ended else 1)
    with pytest.raises(StopNow), stop.at_once():
        stop.listen(1)
        ended.append(1)
        wait_for(lambda: False, "the request")
