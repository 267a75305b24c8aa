"""The MLflow store: any tracking URI; it may be locked or away for a while, or refuse."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # these are read when mlflow is imported,
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # these at every request: it is we who
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # try again, and say so

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DBAPIError

from workbench.locks import held

T = TypeVar("T")

EXPERIMENT_TAG_LIMIT = 20_000
PATIENCE_SECONDS = 120.0
INTERVAL_SECONDS = 5.0
PATIENCE_VARIABLE = "WORKBENCH_PATIENCE_SECONDS"
"""Environment variable that replaces PATIENCE_SECONDS."""
PASSING = (
    "TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "DEADLINE_EXCEEDED", "ABORTED",
    "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "RESOURCE_ALREADY_EXISTS",
)  # fmt: skip
"""Error codes of what may go well in a moment; the last: another process was faster to create it."""
RACES = ("UNIQUE constraint failed", "UniqueViolation")
"""What databases say where another process was faster to write a row; MLflow calls it a BAD_REQUEST."""

for name in ("mlflow.store.db.utils", "urllib3.connectionpool"):
    logging.getLogger(name).setLevel(logging.CRITICAL)  # every error they log, they also raise


class TrackingError(RuntimeError):
    """The MLflow store cannot be used; nothing is lost, the run's spool has it all."""


class AwayError(TrackingError):
    """The store is locked or cannot be reached, and may be in a moment."""


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store.

    Attributes:
        uri: tracking URI.
        artifacts: folder of the artifacts, where the store is a database; a server has its own.
        patience_seconds: how long a locked or absent store is waited for; never during training.
        interval_seconds: how often a run in training sends what is new.
    """

    uri: str
    artifacts: Path
    patience_seconds: float = PATIENCE_SECONDS
    interval_seconds: float = INTERVAL_SECONDS

    @property
    def client(self) -> MlflowClient:
        """Return a client, when the store is there."""
        return self.patiently(self.connect)

    def connect(self) -> MlflowClient:
        """Return a client; the first one for a new database creates its tables."""
        database = sqlite_file(self.uri)
        if not database:
            return MlflowClient(tracking_uri=self.uri)
        with held(database.with_suffix(".lock")):  # MLflow breaks a new one that two open at once
            return MlflowClient(tracking_uri=self.uri)

    def attempt(self, act: Callable[[], T]) -> T:
        """Do something with the store, once.

        Raises:
            AwayError: if the store is locked or cannot be reached.
            TrackingError: if it refuses.
        """
        try:
            return act()
        except MlflowException as error:
            if error.error_code not in PASSING and not any(race in str(error) for race in RACES):
                raise TrackingError(self._sentence("refused", error)) from error
            raise AwayError(self._sentence("does not answer", error)) from error
        except (DBAPIError, OSError) as error:
            raise AwayError(self._sentence("does not answer", error)) from error
        except ModuleNotFoundError as error:
            raise TrackingError(
                f"the MLflow store {self._without_password(self.uri)} needs the package {error.name};"
                " for PostgreSQL it comes with `pip install 'ppo-workbench[postgres]'`"
            ) from error

    def patiently(self, act: Callable[[], T]) -> T:
        """Do something with the store; try again while it is locked or cannot be reached.

        Raises:
            AwayError: if it stays away for `patience_seconds`.
            TrackingError: if it refuses.
        """
        start, waits = time.monotonic(), pauses()
        while True:
            try:
                return self.attempt(act)
            except AwayError as error:
                waited = time.monotonic() - start
                if waited > self.patience_seconds:
                    raise AwayError(
                        f"{error}; waited {waited:.0f} s, see to it and run the same command again"
                    ) from error
            time.sleep(next(waits))

    def create_experiment(self, name: str) -> str:
        """Return the id of the experiment of this name, made if it is not there.

        Call it in one process before others open the store: creating tables is a race.

        Raises:
            TrackingError: if an experiment of this name was deleted and not purged.
        """
        return self.patiently(lambda: self.experiment(self.connect(), name))

    def experiment(self, client: MlflowClient, name: str) -> str:
        """Return the id of the experiment of this name, made if it is not there; one attempt."""
        found = client.get_experiment_by_name(name)
        if found is None:
            is_database = urlsplit(self.uri).scheme not in ("http", "https", "databricks")
            place = (self.artifacts / name).resolve().as_uri() if is_database else None
            return str(client.create_experiment(name, artifact_location=place))
        if found.lifecycle_stage == "deleted":
            raise TrackingError(
                f"experiment {name} was deleted in MLflow; restore it with"
                f" `mlflow experiments restore -x {found.experiment_id}` or name the study otherwise"
            )
        return str(found.experiment_id)

    def tag_experiment(self, name: str, tags: Mapping[str, Any]) -> None:
        """Write tags of an experiment, as JSON."""
        client, experiment = self.client, self.create_experiment(name)
        for key, value in tags.items():
            text = json.dumps(value)
            self.patiently(lambda k=key, t=text: client.set_experiment_tag(experiment, k, t))  # type: ignore[misc]

    def runs(self, experiment: str, where: str = "") -> list[Any]:
        """Return all runs of an experiment that are not deleted, page by page."""
        client, found, token = self.client, [], None
        while True:
            page = self.patiently(
                lambda t=token: client.search_runs([experiment], where, max_results=1000, page_token=t)  # type: ignore[misc]
            )
            found += list(page)
            token = page.token
            if not token:
                return found

    def _sentence(self, verb: str, error: Exception) -> str:
        reason = " ".join(str(error).split()).partition(" [SQL:")[0][:200]
        return self._without_password(f"the MLflow store {self.uri} {verb}: {reason}")

    def _without_password(self, text: str) -> str:
        password = urlsplit(self.uri).password
        return text.replace(f":{password}@", ":***@") if password else text


def default_store(home: Path, uri: str | None = None) -> Store:
    """Return the store of a home folder: its SQLite file, or another URI."""
    patience = float(os.environ.get(PATIENCE_VARIABLE, PATIENCE_SECONDS))
    return Store(uri or f"sqlite:///{(home / 'mlflow.db').resolve()}", home / "artifacts", patience)


def store_address(store: Store, folder: Path) -> dict[str, str]:
    """Say where a store is, seen from a run's folder, so that both may move together."""
    database = sqlite_file(store.uri)
    uri = f"sqlite:///{_seen_from(folder, database)}" if database else store.uri
    return {"uri": uri, "artifacts": _seen_from(folder, store.artifacts)}


def store_at(address: Mapping[str, str], folder: Path) -> Store:
    """Return the store that `store_address` has written into a spool in this folder."""
    database = sqlite_file(address["uri"])
    uri = f"sqlite:///{(folder / database).resolve()}" if database else address["uri"]
    return Store(uri, (folder / address["artifacts"]).resolve())


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a `sqlite:///` URI, None for any other."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def pauses() -> Iterator[float]:
    """Yield the seconds to wait before each new attempt: doubled from 0.2 to 5, then 5 for ever."""
    pause = 0.2
    while True:
        yield pause
        pause = min(2 * pause, 5.0)


def _seen_from(folder: Path, path: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
