"""MLflow's UI, light and on this machine only."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

START_SECONDS = 300.0


@contextmanager
def served(database: Path, artifacts: Path, port: int) -> Iterator[str]:
    """Serve a store on this machine: one process, no job runner.

    Args:
        database: SQLite file.
        artifacts: folder of the artifacts.
        port: TCP port; 0 takes a free one.
    Yields:
        address of the server, when it answers.
    Raises:
        ValueError: if the port is taken.
        RuntimeError: if the server does not start.
    """
    port = _free_port(port)
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{database.resolve()}",
        "--artifacts-destination", str(artifacts.resolve()),
    ]  # fmt: skip
    light = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    log = database.with_suffix(".server.log")
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=os.environ | light, stdout=output, stderr=output, process_group=0
        )
    try:
        _wait(server, address, log)
        yield address
    finally:
        server.terminate()
        server.wait()


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ValueError(
                f"port {port} is taken; choose another with --port, or 0 for a free one"
            ) from None
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urlopen(f"{address}/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the MLflow server did not start; see {log}")
