"""A PostgreSQL database that cannot be had for a while, without a hand on its server."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

import psycopg

Disturbance = Callable[[str], AbstractContextManager[None]]


@contextmanager
def locked(database: str) -> Iterator[None]:
    """Lock the tables that Optuna writes to inside the block; whoever asks has to wait."""
    with psycopg.connect(database) as connection:
        connection.execute("LOCK TABLE studies, trials, trial_user_attributes IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def away(database: str) -> Iterator[None]:
    """Cut all connections at once and refuse new ones inside the block, like a server that restarts."""
    parts = urlsplit(database)
    name = parts.path[1:]
    with psycopg.connect(parts._replace(path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextmanager
def for_seconds(disturb: Disturbance, database: str, seconds: float) -> Iterator[None]:
    """Disturb a database from the begin of the block for so long, in a thread; wait for its end."""
    has_begun = threading.Event()

    def disturb_it() -> None:
        with disturb(database):
            has_begun.set()
            time.sleep(seconds)

    thread = threading.Thread(target=disturb_it)
    thread.start()
    has_begun.wait()
    yield
    thread.join()
