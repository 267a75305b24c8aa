"""What every test shares: quiet progress, one thread, readable failures of the contract."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.builders import TinyTask, make_prepared
from tests.postgres import postgres_server
from workbench.registry import load_plugins
from workbench.stages.prepare import Prepared

if TYPE_CHECKING:
    from workbench.tracking.store import Store

pytest.register_assert_rewrite("tests.tricks.contract")
settings.register_profile(
    "fast",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fast")
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let an author hold a trick outside the package to the contract: `--plugin my_trick.py`."""
    told = "file with tricks to hold to the contract of tests/tricks (repeatable)"
    parser.addoption("--plugin", action="append", default=[], metavar="FILE", help=told)


def pytest_configure(config: pytest.Config) -> None:
    """Load the plugins before the tests ask the registry for its tricks."""
    try:
        load_plugins(config.getoption("--plugin"))
    except (ValueError, FileNotFoundError) as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture
def task() -> TinyTask:
    return TinyTask()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Folders of tiny random models; tests only read them."""
    return make_prepared(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables and the experiment `study`; making one takes seconds."""
    from workbench.tracking.store import default_store

    home = tmp_path_factory.mktemp("empty")
    default_store(home).create_experiment("study")
    return home / "mlflow.db"


@pytest.fixture
def study_store(empty_database: Path, tmp_path: Path) -> "Store":
    """A store of its own for a test, with the experiment `study`."""
    from workbench.tracking.store import default_store

    (tmp_path / "home").mkdir()
    shutil.copy(empty_database, tmp_path / "home")
    return default_store(tmp_path / "home")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URI of a PostgreSQL server; `tests.postgres.new_database` makes a database in it."""
    with postgres_server() as uri:
        yield uri


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the library compute in float64: its up-casts by `.float()` go to float64 as well."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"
