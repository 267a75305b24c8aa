"""One empty MLflow store a session (MLflow takes seconds to make one), copied by every test."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.loading import load
from analysis.runs import Study
from tests.analysis.synthetic_store import QUICKSTART, Plan, write_store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def make_store(template: Path, tmp_path: Path) -> Callable[[Plan], str]:
    return lambda plan: write_store(plan, tmp_path / "store", template)


@pytest.fixture
def make_study(make_store: Callable[[Plan], str]) -> Callable[[Plan], Study]:
    return lambda plan: load(plan.name, make_store(plan))


@pytest.fixture(scope="session")
def quickstart(template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tracking URI of a store with the planted quickstart; tests only read it."""
    return write_store(QUICKSTART, tmp_path_factory.mktemp("quickstart"), template)


@pytest.fixture(scope="session")
def study(quickstart: str) -> Study:
    return load(QUICKSTART.name, quickstart)


WITHOUT_TORCH = """
import sys
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "accelerate", "optuna"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Absent())
from analysis.report import write_report
print(write_report("demo", sys.argv[1], Path(sys.argv[2])))
"""


@pytest.fixture(scope="session")
def report(quickstart: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the whole report of the quickstart, written where torch cannot be imported."""
    folder = tmp_path_factory.mktemp("report")
    subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, quickstart, str(folder)],
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return folder
