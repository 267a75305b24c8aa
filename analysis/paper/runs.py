"""What is to be known of the runs behind the verdicts: how many, by which code, on what, since when."""

import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.claims import Open
from analysis.runs import finished

ROOT = Path(__file__).parents[2]
RULES = "analysis/claims.py"
COLUMNS = ["run_id", "seed", "start_ms", "end_ms", "git_commit", "hardware"]


def facts_of_runs(open_study: Open, numbers: Sequence[str]) -> dict[str, Any]:
    """Return what all ended runs of the paper's studies say of themselves, and what git of the rules.

    Args:
        open_study: of `paper.opener`.
        numbers: studies to ask, by the paper's number; those that are missing are left out.
    Raises:
        LookupError: if no run has ended.
    """
    tables, names = [], []
    for number in numbers:
        try:
            study = open_study(number).study
        except LookupError:
            continue
        ended = finished(study.runs)
        if len(ended):
            names.append(study.name)
            tables.append(ended.reindex(columns=COLUMNS))
    if not tables:
        raise LookupError("no run of the paper's studies has ended")
    runs = pd.concat(tables).drop_duplicates("run_id")
    commit, written = _commit_of_rules()
    return {
        **{"runs": len(runs), "studies": names, "seeds": sorted({int(seed) for seed in runs["seed"]})},
        **{"first": _minute(runs["start_ms"].min()), "last": _minute(runs["end_ms"].max())},
        "hours": round(float((runs["end_ms"] - runs["start_ms"]).sum()) / 3.6e6, 1),
        "hardware": _distinct(runs["hardware"]),
        "code": _distinct(runs["git_commit"].str.replace(r"^(\w{10})\w*", r"\1", regex=True)),
        **{"rules": commit, "rules_date": written},
    }


def _minute(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _distinct(column: "pd.Series[Any]") -> list[str]:
    return sorted(column.dropna().astype(str).unique())


def _commit_of_rules() -> tuple[str, str]:
    """Return the last commit that touched the rules and its time; "unknown" outside of a clone."""
    asked = [
        "git",
        "log",
        "-1",
        "--date=format-local:%Y-%m-%d %H:%M UTC",
        "--format=%h;%cd",
        "--",
        RULES,
    ]
    try:
        found = subprocess.run(
            asked, cwd=ROOT, env=os.environ | {"TZ": "UTC"}, capture_output=True, text=True
        )
    except OSError:
        return "unknown", "unknown"
    commit, _, written = found.stdout.strip().partition(";")
    return commit or "unknown", written or "unknown"
