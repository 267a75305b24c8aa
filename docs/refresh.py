"""Write the pages in docs that are made of `mlruns.example` anew: `python docs/refresh.py`.

The notebook is executed again by `jupyter execute --inplace docs/notebook.ipynb` (package nbclient).
"""

import shutil
from pathlib import Path

from analysis.report import write_report

DOCS = Path(__file__).resolve().parent
STORE = f"sqlite:///{DOCS.parent / 'mlruns.example' / 'mlflow.db'}"


def write_example(folder: Path = DOCS / "example") -> None:
    """Write the report of the example; its figures are in the page, and not once more beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    write_report("quickstart", STORE, folder)
    shutil.rmtree(folder / "figures")


if __name__ == "__main__":
    write_example()
