"""The report and the notebook that are checked in under docs say what the code says today."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis.page.findings import findings
from analysis.runs import Study

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MOST_BYTES = 4_000_000


@pytest.fixture(scope="module")
def example() -> Study:
    return analysis.load("quickstart", f"sqlite:///{ROOT}/mlruns.example/mlflow.db")


def test_the_example_report_says_what_the_code_says_today(example: Study) -> None:
    said = [one.text for group in findings(example, example.tables).values() for one in group]
    written = pd.read_csv(DOCS / "example" / "findings.csv")["finding"].tolist()
    assert written == said, "write it anew: python docs/refresh.py"


def test_the_example_report_is_small_and_names_no_place_on_the_machine_it_was_written_on() -> None:
    files = [file for file in (DOCS / "example").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    for file in files:
        assert not re.search(r"(?<![\w.])/(home|root|tmp|Users)/", file.read_text(encoding="utf-8")), (
            file
        )


def test_the_notebook_has_run_whole_and_runs_still(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [one for one in outputs if one["output_type"] == "error"]
    assert sum("image/png" in one.get("data", {}) for one in outputs) >= 2
    monkeypatch.chdir(DOCS)
    space: dict[str, Any] = {}
    for cell in code:
        lines = [line for line in cell["source"] if not line.startswith("%")]
        exec("".join(lines), space)
    assert set(space["study"].arms) == {"vanilla", "ppo_max"}


def test_a_study_is_found_where_the_environment_says(
    quickstart: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", quickstart)
    assert analysis.load("demo").arms == ("vanilla", "ppo_max")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("WORKBENCH_HOME", str(Path(quickstart.removeprefix("sqlite:///")).parent))
    assert analysis.load("demo").arms == ("vanilla", "ppo_max")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"there is no MLflow database at .*mlflow.db: run a study"):
        analysis.load("demo")


def test_importing_the_package_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    heavy = "('pandas', 'matplotlib', 'mlflow', 'torch')"
    asked = f"import sys, analysis; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
