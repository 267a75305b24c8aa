"""Where Optuna keeps a study's trials: a journal file, PostgreSQL, or a gRPC proxy in front of it."""

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import (
    BaseStorage,
    GrpcStorageProxy,
    JournalStorage,
    RDBStorage,
    get_storage,
    run_grpc_proxy_server,
)
from optuna.storages.journal import JournalFileBackend, _storage

from ablations.journal_lock import JournalLock

T = TypeVar("T")
PATIENCE_SECONDS = 300.0
"""How long a database that is locked, restarting or out of reach is waited for."""
ATTEMPTS = 10
"""At opening a new database whose tables others are making."""
PASSING = {
    "grpc.RpcError",
    "sqlalchemy.exc.InterfaceError",
    "sqlalchemy.exc.OperationalError",
    "sqlalchemy.exc.PendingRollbackError",  # of a connection that was lost in the middle of something
}
KINDS = (
    "a postgresql:// or grpc://host:port address, or nothing for a journal file in the study's folder"
)


class StorageError(RuntimeError):
    """The storage of trials cannot be used."""


def open_storage(uri: str | None, journal: Path) -> BaseStorage:
    """Open the storage of a study's trials; the first to open a new one makes it.

    Args:
        uri: `postgresql://…`, `sqlite:///…`, `grpc://host:port`; None is the journal file.
        journal: the journal file.
    Raises:
        ValueError: for any other address.
        StorageError: if it cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if uri is None:
            journal.parent.mkdir(parents=True, exist_ok=True)
            _read_each_distribution_once()
            return JournalStorage(_Journal(str(journal), JournalLock(journal)))
        kind = urlsplit(uri).scheme.partition("+")[0]
        if kind == "grpc":
            return _proxy(uri)
        if kind not in ("postgresql", "sqlite"):
            raise ValueError(f"--storage must be {KINDS}, got {masked(uri)}")
        return _database(uri)


def serve(database: BaseStorage, host: str, port: int) -> None:
    """Put Optuna's gRPC proxy in front of a database, until the process is stopped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        run_grpc_proxy_server(database, host=host, port=port)


def require_database(uri: str) -> None:
    """Refuse to put a proxy in front of anything but a database server.

    Raises:
        ValueError: with the reason.
    """
    if not urlsplit(uri).scheme.startswith("postgresql"):
        raise ValueError(f"a storage proxy needs a postgresql:// database behind it, got {masked(uri)}")


def require_shareable(uri: str | None, workers: int) -> None:
    """Refuse SQLite for several workers.

    Raises:
        ValueError: with the reason.
    """
    if uri is not None and uri.startswith("sqlite") and workers > 1:
        raise ValueError(
            "a SQLite storage gives one trial to two workers at times, since it locks no single row;"
            " run the study by `workbench ablate --workers 1`, or begin one without --storage (a journal"
            " file) or in a postgresql:// database"
        )


def patiently(act: Callable[[], T], patience_seconds: float = PATIENCE_SECONDS) -> T:
    """Do something with a storage; try again while its server is away.

    Raises:
        StorageError: if it stays away for `patience_seconds`.
    """
    start, pause = time.monotonic(), 0.2
    while True:
        try:
            return act()
        except Exception as error:
            waited = time.monotonic() - start
            if not is_passing(error):
                raise
            if waited > patience_seconds:
                raise StorageError(
                    f"the storage of trials did not answer for {waited:.0f} s ({_reason(error)});"
                    " see to it and run the same command again"
                ) from error
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def is_passing(error: Exception) -> bool:
    """Say whether an error of a storage may pass: its server is away, or a row is locked."""
    cause: BaseException = error
    while isinstance(cause, StorageError | StorageInternalError) and cause.__cause__:
        cause = cause.__cause__
    return bool({f"{kind.__module__}.{kind.__name__}" for kind in type(cause).__mro__} & PASSING)


def masked(uri: str) -> str:
    """Return an address without its password, for messages."""
    parts = urlsplit(uri)
    if not parts.password:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


def _read_each_distribution_once() -> None:
    """Let a journal of thousands of trials open in a second: nearly all have the same distributions.

    Reading them was three quarters of the time, and Optuna offers no other hook.
    """
    read = _storage.json_to_distribution  # type: ignore[attr-defined]
    if not hasattr(read, "cache_info"):
        _storage.json_to_distribution = lru_cache(maxsize=4096)(read)  # type: ignore[attr-defined]


class _Journal(JournalFileBackend):
    """A journal file that says in a sentence why it cannot be written."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines; of what a full disk took of them nothing counts.

        Raises:
            StorageError: if the disk is full.
        """
        try:
            super().append_logs(logs)
        except OSError as error:
            raise StorageError(
                f"cannot write {self._file_path}: {error.strerror};"
                " make room, then run the same command again"
            ) from error


def _database(uri: str) -> BaseStorage:
    """Open a database; each worker holds few connections, since many workers share the server."""
    arguments = {} if uri.startswith("sqlite") else {"pool_size": 2, "pool_pre_ping": True}
    try:
        return get_storage(_open_or_make(uri, arguments))  # which caches what has ended
    except ImportError as error:
        raise StorageError(f"{error}; pip install 'ppo-workbench[postgres]'") from error
    except Exception as error:  # SQLAlchemy's and the driver's own classes have no common base
        raise StorageError(f"cannot open the storage {masked(uri)}: {_reason(error)}") from error


def _open_or_make(uri: str, arguments: dict[str, Any]) -> RDBStorage:
    """Open a database; of several that make the tables of a new one at once, all but one try again."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for _ in range(ATTEMPTS - 1):
        with suppress(IntegrityError, ProgrammingError):
            return RDBStorage(uri, engine_kwargs=arguments)
        time.sleep(0.2)
    return RDBStorage(uri, engine_kwargs=arguments)


def _proxy(uri: str) -> BaseStorage:
    parts = urlsplit(uri)
    if not parts.hostname or not parts.port:
        raise ValueError(f"--storage must be {KINDS}, got {uri}")
    try:
        storage = GrpcStorageProxy(host=parts.hostname, port=parts.port)
        storage.wait_server_ready(timeout=30)
    except ImportError as error:
        raise StorageError(f"{error}; pip install 'ppo-workbench[grpc]'") from error
    except (ConnectionError, StorageInternalError, TimeoutError) as error:
        raise StorageError(f"no storage proxy answers at {uri}; start one with"
                           " `workbench storage-proxy`") from error  # fmt: skip
    return storage


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error).split("\n")[0]
