"""`workbench ui --example`: what a newcomer opens first, as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

COMMAND = [sys.executable, "-m", "workbench.cli", "ui", "--example", "--port", "0"]
ANY = json.dumps({"max_results": 100}).encode()


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    surroundings = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True, env=surroundings)
    yield process
    process.terminate()  # kill would leave MLflow's server behind
    process.communicate()


def experiments(address: str) -> set[str]:
    """Ask a server for the names of its experiments."""
    question = Request(
        f"{address}/api/2.0/mlflow/experiments/search", ANY, {"content-type": "application/json"}
    )
    with urlopen(question, timeout=60) as answer:
        return {one["name"] for one in json.load(answer)["experiments"]}


def test_the_example_is_served_until_ctrl_c(ui: subprocess.Popen[str]) -> None:
    assert ui.stdout
    address = next((line.split()[0] for line in ui.stdout if line.startswith("http")), "")
    assert address.startswith("http://127.0.0.1:")
    assert {"quickstart", "figure_04", "figure_07"} <= experiments(address)
    ui.send_signal(signal.SIGINT)
    assert ui.wait() == 0
    with pytest.raises(URLError):
        urlopen(f"{address}/health", timeout=5)
