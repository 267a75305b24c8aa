"""A PostgreSQL server of a test's own: a temporary cluster on a free port, gone with the session."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from tests.ports import free_port

WAIT_SECONDS = 300
OWNER = "postgres"
"""User that Debian's package makes; PostgreSQL refuses to run as root."""
DEBIAN = Path("/usr/lib/postgresql")
"""Debian keeps initdb and pg_ctl in a folder per version, off the search path."""
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
synchronous_commit = off
"""


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a PostgreSQL server inside the block, as root or as anybody else.

    Returns:
        URI of its database `postgres`; `new_database` makes others.
    Raises:
        RuntimeError: if PostgreSQL is not installed, or does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="workbench-postgres-"))
    data, log, port = folder / "data", folder / "log", free_port()
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, OWNER)
        _run("initdb", ["-D", data, "-U", "workbench", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"])
        with (data / "postgresql.conf").open("a") as file:
            file.write(f"{SETTINGS}port = {port}\n")
        _run("pg_ctl", ["-D", data, "-l", log, "-w", "-t", WAIT_SECONDS, "start"])
        try:
            yield f"postgresql://workbench@127.0.0.1:{port}/postgres"
        finally:
            _run("pg_ctl", ["-D", data, "-m", "immediate", "-t", WAIT_SECONDS, "stop"])
    finally:
        shutil.rmtree(folder)


def new_database(server: str) -> str:
    """Create an empty database in a server, and return its URI.

    MLflow and Optuna each need one of their own: both keep their version in `alembic_version`.
    """
    name = f"d{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return urlsplit(server)._replace(path=f"/{name}").geturl()


def _run(program: str, arguments: Sequence[object]) -> None:
    """Run one of PostgreSQL's programs as a user that it accepts."""
    other_user = {"user": OWNER, "group": OWNER, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [_programs() / program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        **other_user,
    )
    if done.returncode:
        raise RuntimeError(f"PostgreSQL's {program} failed: {done.stderr.strip()}")


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs, the newest if there are several."""
    on_path = shutil.which("initdb")
    debian = DEBIAN.glob("*/bin/initdb")
    found = [Path(on_path)] if on_path else sorted(debian, key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError("this test needs PostgreSQL: install Debian's package postgresql")
    return found[-1].resolve().parent
