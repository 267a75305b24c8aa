"""Workers on a Ray cluster: a real one of two nodes that loses one, and what needs no cluster."""

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from ablations.folder import find_study
from ablations.launchers import ray as ray_launcher
from ablations.launchers import ray_host
from ablations.launchers.base import Job
from ablations.launchers.ray import RayCluster, RayWorker, connect
from ablations.launchers.ray_host import GAVE_UP, Host
from ablations.records import DONE, Status
from ablations.runner import Options, ablate
from ablations.study import Study
from ablations.trials import Trials
from tests.ablations import mishaps
from tests.ablations.mishaps import HOLD
from tests.ablations.toy import OPTIONS, points, run_here, run_names, toy
from tests.ports import free_port
from workbench import plugins

WAIT_SECONDS = 300.0
NODE: dict[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": 80 * 2**20,
    "include_dashboard": False,
}
PATIENCE = {
    "gcs_server_port_wait_time_s": "300",
    "gcs_server_request_timeout_seconds": "300",
    "health_check_timeout_ms": "300000",
    "worker_register_timeout_seconds": "300",
}
"""Ray's settings: how long it waits for a process that is there and slow."""


@dataclass
class TwoNodes:
    """A Ray cluster of two nodes with one CPU each, both on this machine."""

    cluster: Cluster

    def __post_init__(self) -> None:
        self.second = self.cluster.add_node(**NODE)

    def workers(self, node: Any) -> list[psutil.Process]:
        """Return the worker processes on a node."""
        [raylet] = node.all_processes["raylet"]
        below = psutil.Process(raylet.process.pid).children(recursive=True)
        return [process for process in below if "ablations.worker" in " ".join(process.cmdline())]

    def lose_second(self) -> None:
        """Let the second node die, and all that runs on it, as when its power fails."""
        [raylet] = self.second.all_processes["raylet"]
        for process in [raylet.process, *self.workers(self.second)]:
            os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path: while there is a file, runs with the trick `held_up` stay in their third iteration."""
    monkeypatch.setenv(HOLD, str(tmp_path / "hold"))
    return tmp_path / "hold"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two cells, one for each node, of runs that can be held up."""
    monkeypatch.setattr(plugins, "_files", dict(plugins._files))
    arms = {name: {"recipe": name, "with": {"held_up": True}} for name in ("vanilla", "ppo_max")}
    return toy(plugins=[mishaps.__file__], arms=arms, seeds=1)


@pytest.fixture
def nodes(hold: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    for setting, value in PATIENCE.items():
        monkeypatch.setenv(f"RAY_{setting}", value)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    handler = signal.getsignal(signal.SIGTERM)
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    yield TwoNodes(cluster)
    ray.shutdown()
    cluster.shutdown()
    signal.signal(signal.SIGTERM, handler)


class Watched(RayCluster):
    """Remembers the workers that it started."""

    def start(self, name: str, job: Job) -> RayWorker:
        self.started = [*self.__dict__.get("started", []), super().start(name, job)]
        return self.started[-1]


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition holds; return what it returned."""
    end = time.monotonic() + WAIT_SECONDS
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)
    return value


def cells(home: Path) -> list[Status]:
    folder = find_study(home, "toy")
    return Trials(folder, folder.outline()).status()


def states(home: Path) -> list[str]:
    return [status.state for status in cells(home)]


def busy(home: Path) -> set[str]:
    """Return the names of the workers that have trained a few iterations of their cell."""
    return {status.worker for status in cells(home) if status.worker and status.iteration > 1}


def is_asked_to_stop(process: psutil.Process) -> bool:
    """Say whether a SIGTERM waits for a suspended process to go on."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [pending] = [line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:")]
    return bool(int(pending, 16) & 1 << (signal.SIGTERM - 1))


def name_of(process: psutil.Process) -> str:
    line = process.cmdline()
    return line[line.index("--name") + 1]


def test_a_study_on_two_nodes_that_loses_one_and_is_stopped_ends_as_an_undisturbed_one(
    nodes: TwoNodes, study: Study, hold: Path, prepared: Path, tmp_path: Path
) -> None:
    reference = Path(shutil.copytree(prepared, tmp_path / "reference"))
    run_here(study, reference)
    launcher = Watched(nodes.cluster.address, "cpu")
    threads = OPTIONS.launcher.threads(OPTIONS.workers)
    options = Options(workers=2, device="cpu", launcher=launcher, threads=threads)
    assert (launcher.room, launcher.threads(2)) == (2, 1)

    def busy_worker(node: Any) -> psutil.Process:
        worker = wait_for(lambda: nodes.workers(node), "a worker on the node")[0]
        wait_for(lambda: name_of(worker) in busy(prepared), "iterations on the node")
        return worker

    def lose_a_node_and_stop() -> None:
        with ExitStack() as at_the_end:
            at_the_end.callback(hold.unlink)
            first = busy_worker(nodes.cluster.head_node)
            busy_worker(nodes.second)
            nodes.lose_second()
            first.suspend()  # so that it can be seen that it is asked to stop
            at_the_end.callback(first.resume)
            wait_for(lambda: len(launcher.started) == 3, "a new worker, for which there is no place")
            os.kill(os.getpid(), signal.SIGINT)
            wait_for(lambda: launcher.started[2].exit_status() is not None, "that it is called off")
            wait_for(lambda: is_asked_to_stop(first), "that the first one is asked to stop")

    hold.touch()
    trouble = threading.Thread(target=lose_a_node_and_stop)
    with pytest.raises(KeyboardInterrupt):
        trouble.start()
        ablate(study, prepared, options)
    trouble.join()
    ended = [worker.exit_status() for worker in launcher.started]
    assert sorted(ended[:2], key=str) == [-signal.SIGKILL, 0]
    assert not set(states(prepared)) & set(DONE)

    ablate(study, prepared, options)
    assert states(prepared) == ["ok", "ok"]
    assert run_names(prepared) == run_names(reference)
    assert points(prepared) == points(reference)


# Without a cluster


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Nodes of a cluster that is not there."""
    every: list[dict[str, float]] = []
    monkeypatch.setattr(ray_launcher, "connect", lambda address: None)
    monkeypatch.setattr(ray_launcher, "nodes", lambda: every)
    return every


@pytest.mark.parametrize(
    ("asked", "room"),
    [
        ({}, 4),  # a GPU each
        ({"device": "cpu"}, 16),  # a CPU each
        ({"gpus": 0.25}, 16),
        ({"gpus": 0.25, "cpus": 2}, 8),
        ({"gpus": 2}, 2),
        ({"processes": 2}, 2),
        ({"gpus": 3}, 1),  # waits for a node that has as many
    ],
)
def test_there_is_room_for_as_many_workers_as_fit_on_the_nodes(
    asked: dict[str, Any], room: int, pretended: list[dict[str, float]]
) -> None:
    pretended += [{"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 2}]
    assert RayCluster(**asked).room == room


def test_workers_without_a_place_are_told_of(pretended: list[dict[str, float]]) -> None:
    pretended += [{"CPU": 2}]
    cluster = RayCluster()
    two = "workers: 2, each with CPUs: 1, GPUs: 0, on a Ray cluster with nodes: 1"
    assert cluster.describe(2) == two
    assert cluster.describe(3).endswith("; there is room for 2, the others wait")


def test_a_share_of_a_gpu_for_several_processes_is_refused(pretended: list[dict[str, float]]) -> None:
    with pytest.raises(
        ValueError, match=r"--trial-gpus must be .* for each of the 2 processes of a trial, got 0\.5"
    ):
        RayCluster(processes=2, gpus=0.5)


def test_processes_share_the_threads_of_their_worker(pretended: list[dict[str, float]]) -> None:
    assert RayCluster(cpus=8, gpus=0, processes=2).threads(workers=3) == 4
    assert RayCluster(cpus=0.5, gpus=0).threads(workers=3) == 1


def test_an_address_at_which_nothing_listens_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would try for minutes"))
    port = free_port()
    with pytest.raises(ValueError, match=f"^no Ray cluster at 127.0.0.1:{port}: "):
        connect(f"127.0.0.1:{port}")


def test_where_no_cluster_runs_it_is_said_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ValueError, match=r"^no Ray cluster at auto: start one with `ray start --head`"):
        RayCluster()


@pytest.mark.parametrize("content", [None, "another study of that name"])
def test_a_node_that_does_not_see_the_home_folder_says_so(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_host, "SHARED_SECONDS", 0)
    monkeypatch.setattr(ray, "get_runtime_context", Mock())
    if content:
        (tmp_path / "study.json").write_text(content)
    host = Host("n", Job(tmp_path, "toy", tmp_path, 1), "a hash", processes=1, has_gpu=False)
    ending = asyncio.run(host.run())
    assert ending.status == GAVE_UP
    assert f"does not see {tmp_path}; put the home folder (--home) on a disk" in ending.last_words


def test_a_worker_without_a_gpu_sees_none_and_one_with_a_gpu_what_ray_gave_it(tmp_path: Path) -> None:
    job = Job(tmp_path, "toy", tmp_path, 1)
    without = Host("n", job, "", processes=1, has_gpu=False)._variables()
    assert without["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in Host("n", job, "", processes=1, has_gpu=True)._variables()
    assert without["PYTHONPATH"].startswith(str(Path(__file__).parents[2]))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ActorDiedError(), -signal.SIGKILL),  # its node is gone
        (RayTaskError("run", "traceback", OSError("no space left")), GAVE_UP),
        (ActorUnavailableError("the network", None), None),  # asked again
    ],
)
def test_how_an_actor_ends_is_how_its_worker_ended(
    error: Exception, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_launcher, "_is_ready", lambda reference: True)
    monkeypatch.setattr(ray, "get", Mock(side_effect=error))
    monkeypatch.setattr(ray, "kill", kill := Mock())
    worker = RayWorker("n", host := Mock())
    assert worker.exit_status() == status
    assert kill.called == (status is not None)
    assert host.run.remote.call_count == (1 if status is not None else 2)
