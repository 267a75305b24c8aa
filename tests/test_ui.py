"""`workbench ui --example`: what a newcomer opens first, as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from analysis import chart_view
from workbench.commands import stores
from workbench.tracking import ui as server

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
    with urlopen(question, timeout=300) as answer:
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


def test_the_views_are_known_before_ctrl_c_is_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C that meets one of their imports ends the process as killed, though it is caught."""
    order: list[str] = []

    def dress(uri: str) -> dict[str, str]:
        order.append("views")
        return {}

    @contextmanager
    def served(database: Path, artifacts: Path, port: int) -> Iterator[str]:
        order.append("served")
        yield "http://127.0.0.1:1"
        order.append("ended")

    def ctrl_c(seconds: float) -> None:
        order.append("Ctrl-C")
        raise KeyboardInterrupt

    (tmp_path / "mlflow.db").touch()
    monkeypatch.setattr(chart_view, "dress", dress)
    monkeypatch.setattr(server, "served", served)
    monkeypatch.setattr(time, "sleep", ctrl_c)
    stores.ui(tmp_path, 0)
    assert order == ["views", "served", "Ctrl-C", "ended"]
