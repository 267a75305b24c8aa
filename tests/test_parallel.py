"""One run on two processes, launched for real: the curves of one process, written and printed once."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

from tests.ablations.toy import TOY, points, run_names
from tests.builders import make_prepared
from tests.parallel_cases import CASES, DROPOUT, Case
from tests.test_checkpoint import stop_after, without_times
from workbench import models, parallel
from workbench.loading import load_causal
from workbench.locks import held
from workbench.parallel import Share, collect, is_main, sum_gradients
from workbench.stages.prepare import Prepared
from workbench.training import Interrupted

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 1800.0
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
LAUNCH += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]


def launch(*arguments: object) -> subprocess.Popen[str]:
    """Start a program on two processes, as a user does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *LAUNCH, *map(str, arguments)],
        env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def train_command(home: Path, iterations: int) -> list[object]:
    """Return the command that trains PPO-max on the toy study's task."""
    parts = {part: TOY[part] for part in ("task", "prepare", "ppo")}
    settings = {f"{p}.{key}": value for p, of in parts.items() for key, value in of.items()}
    changes = [f"--set={k}={json.dumps(value)}" for k, value in settings.items() if k != "task.name"]
    changes.append(f"--set=ppo.iterations={iterations}")
    return ["train", "--recipe", "ppo_max", "--home", home, *changes]


@dataclass(frozen=True)
class Shared:
    """What two processes left behind in a folder.

    Attributes:
        folder: folders of the cases in `out`, home folder of `workbench train` in `home`.
        start: models that every case started from.
        found: what each process found.
        output: what both of them printed, to stdout and stderr.
    """

    folder: Path
    start: Prepared
    found: list[dict[str, Any]]
    output: list[str]


def run_program(folder: Path) -> None:
    """Do all that two processes do in one go, as starting them takes longest."""
    start, out = folder / "start", folder / "out"
    prepared = make_prepared(start)
    with pytest.raises(Interrupted):
        CASES["vanilla"].train(prepared, out / "resumed", is_interrupted=stop_after(2))
    program = launch("-m", "tests.parallel_program", start, out, *train_command(folder / "home", 2))
    output = program.communicate(timeout=PATIENCE_SECONDS)
    assert program.returncode == 0, output[1]
    (folder / "output.json").write_text(json.dumps(output))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """What two processes left behind; made once, by the first of pytest's own workers to ask."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "parallel"
    with held(folder.with_suffix(".lock")):
        if not (folder / "output.json").is_file():
            run_program(folder)
    start = {stage: folder / "start" / stage for stage in ("base", "sft", "reward_model")}
    files = [folder / "out" / f"process-{number}.json" for number in (0, 1)]
    return Shared(
        folder,
        Prepared(**start, fingerprint="tiny", facts={}),
        [json.loads(file.read_text()) for file in files],
        json.loads((folder / "output.json").read_text()),
    )


def assert_same_curves(case: Case, one: Any, two: Any) -> None:
    """Compare all metrics of all iterations: in float64 to 1e-10, in float32 to 1e-5."""
    relative, absolute = (1e-10, 1e-12) if case.is_exact else (1e-5, 1e-6)
    assert [step for step, _ in one] == [step for step, _ in two]
    for (step, expected), (_, found) in zip(without_times(one), without_times(two), strict=True):
        close = pytest.approx(expected, rel=relative, abs=absolute, nan_ok=True)
        assert found == close, f"at iteration {step}"


# The same numbers.


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_curves_of_one(name: str, shared: Shared, folder: Path) -> None:
    _, one = CASES[name].train(shared.start, folder)
    for two in shared.found:
        assert_same_curves(CASES[name], one.history, two[name]["history"])
        texts = [key for key in one.samples if "response" in key or key == "prompt"]
        assert all(one.samples[key] == two[name]["samples"][key] for key in texts)


@pytest.mark.parametrize("name", [*CASES, "dropout"])
def test_both_processes_end_with_the_same_bits(name: str, shared: Shared) -> None:
    main, other = (found[name] for found in shared.found)
    assert main["weights"] == other["weights"]
    assert without_times(main["history"]) == without_times(other["history"])
    assert main["samples"] == other["samples"]


def test_dropout_drops_otherwise_than_one_process_does(shared: Shared, folder: Path) -> None:
    # each process draws for its own rows, so this is another draw of the same run
    _, one = DROPOUT.train(shared.start, folder)
    first, second = without_times(one.history)[0][1], shared.found[0]["dropout"]["history"][0][1]
    assert first["reward/proxy"] == pytest.approx(second["reward/proxy"], rel=1e-5)
    assert first["ppo/policy_loss"] != pytest.approx(second["ppo/policy_loss"], rel=1e-2)


def test_each_process_drops_with_random_numbers_of_its_own(shared: Shared, folder: Path) -> None:
    run, _ = DROPOUT.train(shared.start, folder)
    drawn = []
    for number in (0, 1):
        with patch.object(models, "process", lambda number=number: number):
            with run.ppo.models.in_training_mode(seed=7):
                drawn.append(torch.rand(()))
    assert drawn[0] == torch.rand((), generator=torch.Generator().manual_seed(7)) != drawn[1]


def test_a_run_begun_by_one_process_is_finished_by_two(shared: Shared, folder: Path) -> None:
    _, straight = CASES["vanilla"].train(shared.start, folder)
    assert_same_curves(CASES["vanilla"], straight.history, shared.found[0]["resumed"]["history"])


def test_a_run_that_two_processes_left_is_finished_by_one(shared: Shared, folder: Path) -> None:
    # the second process alone was asked to stop, and both did
    said = [found["interrupted"] for found in shared.found]
    assert said == ["stopped after iteration 2 of 3"] * 2
    _, straight = CASES["vanilla"].train(shared.start, folder)
    _, resumed = CASES["vanilla"].train(shared.start, shared.folder / "out" / "interrupted")
    assert_same_curves(CASES["vanilla"], straight.history, resumed.history)


def test_gathered_rows_have_the_gradients_of_rows_that_were_never_shared(shared: Shared) -> None:
    for found in shared.found:
        for of_shares, of_all in found["gradients"]:
            assert of_shares[0] == pytest.approx(of_all[0], rel=1e-5)
            assert of_shares[1] == pytest.approx(of_all[1], rel=1e-5)
            assert of_shares[2] is of_all[2] is None


def test_rows_of_every_kind_are_gathered_as_they_were(shared: Shared) -> None:
    assert all(all(found["gathered"]) for found in shared.found)


def test_what_differs_between_processes_is_refused_on_all(shared: Shared) -> None:
    complaints = [found["complaint"] for found in shared.found]
    assert complaints == ["the processes differ in their number: 0, 1"] * 2


def test_what_the_main_process_has_is_broadcast(shared: Shared) -> None:
    assert [found["broadcast"] for found in shared.found] == [["cell", 0]] * 2


# Written and printed once.


def test_the_main_process_alone_logs_and_prints(shared: Shared) -> None:
    assert [found["vanilla"]["logged"] for found in shared.found] == [[0, 1, 2, 3], []]
    printed, progress = shared.output
    assert printed.count("policy: ") == 1
    for line in ("pre-training: 3/3", "reward model: 2/2", "ppo_max/s0: 2/2"):
        assert progress.count(line) == 1, line


def test_two_processes_leave_one_run_behind(shared: Shared) -> None:
    home = shared.folder / "home"
    assert run_names(home) == ["ppo_max/s0"]
    steps = [point[2] for point in points(home) if point[1] == "reward/proxy"]
    assert steps == [0, 1]
    (policy,) = home.glob("train/*/policy")
    assert load_causal(policy).config.n_embd == TOY["prepare"]["policy"]["width"]
    assert not list(home.rglob(".partial*"))


def test_sigterm_stops_all_processes_after_the_same_iteration(shared: Shared, tmp_path: Path) -> None:
    def checkpoints() -> set[Path]:
        return set(home.glob("train/*/checkpoint-*"))

    home = Path(shutil.copytree(shared.folder / "home", tmp_path / "home"))  # models are prepared there
    before, end = checkpoints(), time.monotonic() + PATIENCE_SECONDS
    program = launch("-m", "workbench.cli", *train_command(home, 100_000))
    while checkpoints() <= before:
        assert time.monotonic() < end and program.poll() is None
        time.sleep(0.05)
    program.send_signal(signal.SIGTERM)
    _, told = program.communicate(timeout=PATIENCE_SECONDS)
    again = r"^stopped; go on with: accelerate launch --multi_gpu --num_processes 2 -m workbench.cli t"
    assert len(re.findall(again, told, re.MULTILINE)) == 1
    with safe_open(max(checkpoints() - before), framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
    assert progress["iteration"] == len(progress["history"]) < 100_000


def test_the_failure_of_one_process_ends_the_others(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from accelerate import Accelerator\n"
        "from workbench.parallel import collect, is_main\n"
        "Accelerator(cpu=True)\n"
        "collect(None)\n"
        "assert is_main(), 'the second process fails'\n"
        "collect(None)\n"
    )
    launched = launch(program)
    _, told = launched.communicate(timeout=PATIENCE_SECONDS)
    assert launched.returncode != 0 and "the second process fails" in told


# Shares.


@given(rows=st.integers(1, 20), processes=st.integers(1, 6))
def test_every_row_belongs_to_one_process_and_each_has_some_to_work_on(
    rows: int, processes: int
) -> None:
    owned: list[int] = []
    with patch.object(parallel, "processes", lambda: processes):
        for number in range(processes):
            with patch.object(parallel, "process", lambda number=number: number):
                share = Share.of(rows)
            worked_on = list(range(rows))[share.rows]
            owned += worked_on[: share.count]
            assert 1 <= len(worked_on) == max(1, share.count)
            assert max(share.counts) - min(share.counts) <= 1
    assert owned == list(range(rows))


def test_one_process_changes_nothing() -> None:
    whole, parameter = torch.randn(5, 2), nn.Parameter(torch.randn(3))
    gradient = parameter.grad = torch.randn(3)
    share = Share.of(5)
    assert is_main() and share.is_everything and share.rows == slice(0, 5)
    assert share.gather(whole) is whole
    assert torch.equal(share.total(whole), whole)
    assert share.gather_list([1, 2, 3, 4, 5]) == [1, 2, 3, 4, 5]
    sum_gradients([parameter])
    assert parameter.grad is gradient
    assert collect("me") == ["me"] and parallel.broadcast("me") == "me"


@pytest.mark.parametrize(("sizes", "buckets"), [([3, 3, 3], [2, 1]), ([9, 1], [1, 1]), ([], [])])
def test_gradients_travel_in_buckets_of_bounded_size(sizes: list[int], buckets: list[int]) -> None:
    with patch.object(parallel, "BUCKET_ELEMENTS", 6):
        found = list(parallel._buckets([torch.zeros(size) for size in sizes]))
    assert [len(bucket) for bucket in found] == buckets
