import shutil
from pathlib import Path

import pandas as pd

from analysis.loading import load
from analysis.traces import ITERATION
from analysis.warnings.ranking import ranking

ROOT = Path(__file__).parents[2]


def line(place: int, row: "pd.Series[object]") -> str:
    """One row of the table of the example in docs/warnings.md."""
    sure = f"{row['auroc']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    lead = f"{row['lead_median']:g} ({row['lead_low']:g} to {row['lead_high']:g})"
    announced = f"{row['announced']} of {row['falls']} | {lead if row['announced'] else ''}"
    cells = [sure, f"{row['within_arm']:.2f}", announced, f"{row['false_alarms']} of {row['held']}"]
    label = str(row["label"]).removesuffix(" (alignment tax)")
    return f"| {place} | {label} | " + " | ".join(cells).replace("|  |", "| |") + " |"


def test_the_page_tells_of_the_example_what_its_runs_say(tmp_path: Path) -> None:
    store = Path(shutil.copy(ROOT / "mlruns.example" / "mlflow.db", tmp_path))
    table = ranking(load("quickstart", f"sqlite:///{store}"))
    page = (ROOT / "docs" / "warnings.md").read_text(encoding="utf-8")
    rows = [line(place, row) for place, (_, row) in enumerate(table.iterrows(), start=1)]
    said = [text for text in page.splitlines() if " of 5 | " in text]
    assert len(said) == 9 and set(said) <= set(rows)
    assert f"8 of its {len(table) - 1} monitors" in page
    own = table[~table["judged"].astype(bool) & (table["monitor"] != ITERATION)]
    over, within = own["beats_iteration"].astype(bool).sum(), (own["within_over_low"] > 0).sum()
    beaten = (
        f"of the {len(own)} that do not ask the judge {over} beat it over both arms, {within} within one"
    )
    assert beaten in " ".join(page.split())
