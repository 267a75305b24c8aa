"""One empty MLflow store a session (MLflow takes seconds to make one), copied by every test."""

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_store import QUICKSTART, Plan, write_store


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def make_store(template: Path, tmp_path: Path) -> Callable[[Plan], str]:
    return lambda plan: write_store(plan, tmp_path / "store", template)


@pytest.fixture(scope="session")
def quickstart(template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tracking URI of a store with the planted quickstart; tests only read it."""
    return write_store(QUICKSTART, tmp_path_factory.mktemp("quickstart"), template)
