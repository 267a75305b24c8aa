"""Where workers run: processes with their share of cores and GPUs, and how each of them ends."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ablations import runner
from ablations.launchers.base import Job
from ablations.launchers.choice import make_launcher
from ablations.launchers.local import Local, visible_gpus
from ablations.launchers.processes import Processes, start_processes
from ablations.runner import Options, default_workers
from tests.ablations.toy import toy
from tests.mlflow_server import wait_for
from workbench import cli


def end_of(worker: Processes) -> int:
    """Wait for a worker's end."""
    wait_for(lambda: worker.exit_status() is not None, "the worker's end")
    return worker.exit_status() or 0


def wait_for_line(log: Path) -> None:
    """Wait until a process has written a line."""
    wait_for(lambda: log.is_file() and b"\n" in log.read_bytes(), f"a line in {log}")


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Processes]:
    def start(code: str, count: int = 1) -> Processes:
        command = [sys.executable, "-c", code]
        return start_processes(
            "host:1.0", command, tmp_path / "host-1.0.log", environment={}, count=count
        )

    return start


Start = Callable[..., Processes]
SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@dataclass(frozen=True)
class Saying(Job):
    """A job whose workers say what they were given and wait for their end."""

    def command(self, name: str) -> list[str]:
        told = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ACCELERATE_USE_CPU"
        says = f"print(*[os.environ.get(k) for k in {told}], len(os.sched_getaffinity(0)), flush=True)"
        return [sys.executable, "-c", f"import os, time; {says}; time.sleep(600)"]


@pytest.fixture
def saying(tmp_path: Path) -> Saying:
    return Saying(tmp_path, "toy", tmp_path, threads=3)


def words(worker: Processes) -> list[str]:
    wait_for_line(worker.log)
    return worker.last_words().split()


def test_a_worker_that_ends_by_itself_has_its_exit_status_and_last_words(start: Start) -> None:
    worker = start("import sys; print('one'); sys.exit('the disk is full')")
    assert end_of(worker) == 1
    assert worker.last_words() == "the disk is full"


def test_a_killed_worker_has_the_signal_with_a_minus(start: Start) -> None:
    worker = start(SLEEP)
    assert worker.exit_status() is None
    worker.kill()
    assert end_of(worker) == -signal.SIGKILL


def test_a_worker_is_asked_to_stop_by_sigterm(start: Start) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
    worker = start(f"{code}; print('up', flush=True); time.sleep(600)")
    wait_for_line(worker.log)
    worker.ask_to_stop()
    assert end_of(worker) == 0


def test_ctrl_c_at_the_terminal_does_not_reach_workers(start: Start) -> None:
    worker = start("import os; print(os.getpgrp() == os.getpid())")
    assert end_of(worker) == 0
    assert worker.last_words() == "True"


def test_processes_of_one_worker_form_a_group_in_torch(start: Start) -> None:
    worker = start(
        "import torch, torch.distributed as d; d.init_process_group('gloo');"
        "t = torch.tensor(d.get_rank() + 1); d.all_reduce(t); print(d.get_world_size(), int(t));"
        "d.destroy_process_group()",
        count=2,
    )
    assert end_of(worker) == 0
    assert worker.last_words() == "2 3"


def test_a_process_that_dies_takes_its_group_with_it(start: Start) -> None:
    die = "import os, signal; os.environ['RANK'] == '1' and os.kill(os.getpid(), signal.SIGSEGV)"
    worker = start(f"{die}; {SLEEP}", count=2)
    assert end_of(worker) == -signal.SIGSEGV


def test_the_last_words_are_those_of_the_process_that_failed(start: Start) -> None:
    worker = start(
        f"import os, sys; os.environ['RANK'] == '1' and sys.exit('no room'); {SLEEP}", count=2
    )
    assert end_of(worker) == -signal.SIGABRT  # only the main process can give up
    assert worker.last_words() == "no room"


def test_a_worker_gets_its_threads_and_all_cores(saying: Saying) -> None:
    worker = Local(gpus=[]).start("host:1.0", saying)
    assert words(worker) == ["3", "None", "None", str(len(os.sched_getaffinity(0)))]
    worker.kill()


def test_gpus_are_shared_out_round_and_round_and_a_freed_share_is_given_again(saying: Saying) -> None:
    local = Local(gpus=["0", "1"])
    workers = [local.start(f"host:1.{i}", saying) for i in range(3)]
    assert [words(worker)[1] for worker in workers] == ["0", "1", "0"]
    workers[1].kill()
    end_of(workers[1])
    workers.append(local.start("host:1.3", saying))
    assert words(workers[3])[1] == "1"
    for worker in workers:
        worker.kill()


def test_a_worker_of_two_processes_gets_two_gpus(saying: Saying) -> None:
    local = Local(processes=2, gpus=["0", "1", "2", "3"])
    workers = [local.start(f"host:1.{i}", saying) for i in range(2)]
    assert [words(worker)[1] for worker in workers] == ["0,1", "2,3"]
    for worker in workers:
        worker.kill()


def test_a_group_without_gpus_is_told_to_use_the_cpu(saying: Saying) -> None:
    worker = Local("cpu", processes=2, gpus=["0"]).start("host:1.0", saying)
    assert words(worker)[1:3] == ["None", "true"]
    worker.kill()


def test_pinned_workers_share_no_core(saying: Saying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.launchers.local.cores", lambda: list(range(8)))
    local = Local(pin_cores=True, gpus=[])
    assert [local._cores(slot, 3) for slot in range(3)] == [[0, 1, 2], [3, 4, 5], []]


def test_a_pinned_worker_runs_on_its_cores_and_its_parent_on_all(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    code, log = "import os; print(os.sched_getaffinity(0))", tmp_path / "log"
    core = max(before)
    worker = start_processes("n", [sys.executable, "-c", code], log, environment={}, cores=[core])
    assert end_of(worker) == 0
    assert worker.last_words() == f"{{{core}}}"
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("environment", "count", "names"),
    [
        (None, 2, ["0", "1"]),
        ("3,5", 2, ["3", "5"]),
        ("GPU-1a,GPU-2b", 2, ["GPU-1a", "GPU-2b"]),
        ("", 0, []),
    ],
)
def test_gpus_are_named_as_this_process_sees_them(
    environment: str | None, count: int, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if environment is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment)
    assert visible_gpus() == names


@pytest.mark.parametrize(
    ("cores", "gpus", "processes", "room", "threads"),
    [
        (16, [], 1, 2, 8),
        (1, [], 1, 1, 1),
        (2, [], 2, 1, 1),
        (16, ["0", "1", "2", "3"], 1, 4, 4),
        (16, ["0", "1", "2", "3"], 2, 2, 4),
    ],
)
def test_there_is_room_for_a_worker_per_gpu_or_two_on_the_cpu(
    cores: int,
    gpus: list[str],
    processes: int,
    room: int,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ablations.launchers.local.cores", lambda: list(range(cores)))
    local = Local(processes=processes, gpus=gpus)
    assert (local.room, local.threads(local.room)) == (room, threads)


def test_by_default_there_are_no_more_workers_than_cells_or_proposals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local = Local(gpus=[str(gpu) for gpu in range(8)])
    assert default_workers(toy(), local) == 4
    wanted = {"recipe": "ppo_max", "tricks": ["value_clip"], "trials": 5}
    assert default_workers(toy(arms={}, baseline=None, search=wanted), local) == 5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "slurm"}, "unknown launcher 'slurm'; known: local, ray"),
        ({"kind": "local", "trial_gpus": 0.5}, "--trial-gpus goes with --launcher ray"),
        ({"kind": "ray", "pin_cores": True}, "--pin-cores goes with --launcher local"),
        (
            {"kind": "local", "processes": 3},
            "a trial on 3 processes needs as many GPUs, and there are 2",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, object], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablations.launchers.local.visible_gpus", lambda: ["0", "1"])
    with pytest.raises(ValueError, match=sentence):
        make_launcher(**{"device": "auto", "processes": 1, **options})  # type: ignore[arg-type]


def test_options_of_ablate_say_where_workers_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []
    monkeypatch.setattr(runner, "ablate", lambda study, home, options: seen.append(options) or [])
    place = ["--device", "cpu", "--processes-per-trial", "2", "--pin-cores"]
    line = ["ablate", "ablations/quickstart.yaml", *place, "--workers", "5", "--threads", "3"]
    monkeypatch.setattr(sys, "argv", ["workbench", *line])
    with pytest.raises(SystemExit):
        cli.main()
    [options] = seen
    assert options.launcher == Local("cpu", processes=2, pin_cores=True)
    assert (options.workers, options.threads) == (5, 3)


def test_without_ray_its_launcher_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ablations.launchers.ray", None)
    with pytest.raises(ValueError, match=r"pip install 'ppo-workbench\[ray\]'"):
        make_launcher("ray", device="auto", processes=1)
