"""Storages of trials that cannot be had for a while, without a hand on their server."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
from optuna.storages import BaseStorage
from sqlalchemy.exc import OperationalError

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


def let_fail(storage: BaseStorage, monkeypatch: pytest.MonkeyPatch, share: float = 0.3) -> None:
    """Let a share of the calls of a storage fail before they do anything, and nobody wait long."""
    rng = random.Random(0)

    def failing(method: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            if rng.random() < share:
                raise OperationalError("select", {}, Exception("the connection was closed"))
            return method(*given, **named)

        return call

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for name in (name for name in dir(BaseStorage) if name.startswith(("get_", "set_", "create_"))):
        monkeypatch.setattr(storage, name, failing(getattr(storage, name)))
