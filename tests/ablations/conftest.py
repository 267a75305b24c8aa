"""One undisturbed study, run once and compared with by all tests."""

import shutil
from pathlib import Path

import pytest

from tests.ablations.toy import run_here, toy
from workbench.tracking.store import default_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them; making one takes seconds."""
    home = tmp_path_factory.mktemp("empty")
    default_store(home).create_experiment("Default")
    return home / "mlflow.db"


@pytest.fixture
def new_home(empty_store: Path, tmp_path: Path) -> Path:
    """A home folder with nothing but an empty MLflow database."""
    (tmp_path / "home").mkdir()
    shutil.copy(empty_store, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def undisturbed(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home folder of the toy study, run from start to end; not to be written to."""
    home = tmp_path_factory.mktemp("undisturbed")
    shutil.copy(empty_store, home)
    run_here(toy(), home)
    return home


@pytest.fixture
def finished(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the undisturbed study, to play with; artifacts stay where they were."""
    return Path(shutil.copytree(undisturbed, tmp_path / "finished"))


@pytest.fixture
def prepared(undisturbed: Path, new_home: Path) -> Path:
    """A home folder with the toy study's models prepared, and nothing else."""
    shutil.copytree(undisturbed / "prepared", new_home / "prepared")
    return new_home
