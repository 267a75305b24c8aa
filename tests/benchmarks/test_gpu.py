"""The GPU's benchmark, as far as a machine without one can tell: its logic on the CPU."""

import subprocess
import sys
import time
from typing import Any

import pytest
import torch

from tests.ablations.toy import toy
from tests.benchmarks import gpu
from tests.benchmarks.gpu import trials_seconds


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence_and_fails() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.gpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "this benchmark needs a GPU, and torch sees none\n"


def test_trials_per_hour_follow_from_the_trials_and_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    took: list[float] = []

    def remember(*arguments: Any) -> float:
        took.append(trials_seconds(*arguments))
        return took[-1]

    monkeypatch.setattr(gpu, "trials_seconds", remember)
    study = toy(arms={"vanilla": "vanilla"}, seeds=2, iterations=2)
    begin = time.perf_counter()
    heading, one = gpu.sharing(study, (1,), "cpu")
    assert heading == ("workers", "trials per hour", "times those of one")
    assert one == ("1", f"{2 * 3600 / took[0]:.0f}", "1.00")
    assert 0 < took[0] < time.perf_counter() - begin
