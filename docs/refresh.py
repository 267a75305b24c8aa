"""Write the pages that are made of `mlruns.example` anew: `python docs/refresh.py`.

They are docs/example, and the same report as the example's own store shows it. The notebook is executed
again by `jupyter execute --inplace docs/notebook.ipynb` (package nbclient).
"""

import shutil
from pathlib import Path

from analysis.report import write_report

DOCS = Path(__file__).resolve().parent
EXAMPLE = DOCS.parent / "mlruns.example"
STORE = f"sqlite:///{EXAMPLE / 'mlflow.db'}"


def write_example(folder: Path = DOCS / "example") -> None:
    """Write the report of the example; its figures are in the page, and not once more beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    write_report("quickstart", STORE, folder)
    [published] = (file.parent for file in EXAMPLE.glob("artifacts/*/*/artifacts/findings.csv"))
    for file in (one.relative_to(published) for one in published.rglob("*.*")):
        shutil.copyfile(folder / file, published / file)
    shutil.rmtree(folder / "figures")


if __name__ == "__main__":
    write_example()
