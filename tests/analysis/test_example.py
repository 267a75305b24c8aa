"""The report and the notebook that are checked in under docs say what the code says today."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis.intervals import floats, interval
from analysis.page.findings import findings
from analysis.runs import Study
from analysis.tables import tables_of
from analysis.values import sft_values
from tests.written import INTERVAL, as_number, is_interval

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MOST_BYTES = 4_000_000


@pytest.fixture(scope="module")
def example() -> Study:
    return analysis.load("quickstart", f"sqlite:///{ROOT}/mlruns.example/mlflow.db")


def test_the_example_report_says_what_the_code_says_today(example: Study) -> None:
    said = [one.text for group in findings(example, tables_of(example)).values() for one in group]
    written = pd.read_csv(DOCS / "example" / "findings.csv")["finding"].tolist()
    assert written == said, "write it anew: python docs/refresh.py"


def test_the_report_in_the_example_s_store_is_the_same() -> None:
    [published] = (ROOT / "mlruns.example").glob("artifacts/*/*/artifacts/findings.csv")
    tables = [*published.parent.glob("*.csv"), *published.parent.glob("latex/*.tex")]
    assert len(tables) > 20
    other = [file.name for file in tables if file.read_bytes() != shown_beside(published, file)]
    assert not other, "write them anew: python docs/refresh.py"


def shown_beside(published: Path, file: Path) -> bytes:
    """Return what docs/example has for a file of the published report."""
    return (DOCS / "example" / file.relative_to(published.parent)).read_bytes()


def test_every_interval_of_the_readme_is_in_a_table(example: Study) -> None:
    files = [file for file in (DOCS / "example").glob("*.csv") if file.name != "curves.csv"]
    tables = [pd.read_csv(file) for file in files]  # curves have so many that one would always fit
    ends = [(float(low), float(high)) for table in tables for low, high in ends_of(table)]
    starts = [interval(floats(sft_values(example, metric))) for metric in ("eval/gold", "eval/proxy")]
    ends += [(start.low, start.high) for start in starts]
    pages = " ".join(file.read_text(encoding="utf-8") for file in DOCS.glob("*.md"))
    ends += [(as_number(one[1]), as_number(one[3])) for one in INTERVAL.finditer(pages)]
    ends += [(-high, -low) for low, high in ends]
    written = list(INTERVAL.finditer((ROOT / "README.md").read_text(encoding="utf-8")))
    assert len(written) > 30
    lost = [one[0] for one in written if not any(is_interval(*pair, one) for pair in ends)]
    assert not lost, "neither docs/example nor a page of docs has these"


def ends_of(table: pd.DataFrame) -> Iterator[tuple[float, float]]:
    """Yield the ends of every interval of a table, whose columns end in low and high."""
    for low in (name for name in table if name.endswith("low")):
        high = f"{low.removesuffix('low')}high"
        if high in table:
            yield from zip(table[low], table[high], strict=True)


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
