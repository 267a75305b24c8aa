"""What is to be known of the runs behind the verdicts: how many, by which code, on what, since when."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.claims import Open
from analysis.runs import finished

ROOT = Path(__file__).parents[2]
RULES = "analysis/claims.py"
COLUMNS = ["run_id", "seed", "start_ms", "end_ms", "git_commit", "hardware"]
LISTS = ("seeds", "hardware", "code")


Facts = dict[str, Any]


def facts_of_studies(open_study: Open, numbers: Sequence[str]) -> dict[str, Facts]:
    """Return what the ended runs of each of the paper's studies say of themselves.

    A run that is lent counts with the first study that has it.

    Args:
        open_study: of `paper.opener`.
        numbers: studies to ask, by the paper's number; those that are missing are left out.
    Raises:
        LookupError: if no run has ended.
    """
    found: dict[str, Facts] = {}
    seen: set[str] = set()
    for number in numbers:
        try:
            study = open_study(number).study
        except LookupError:
            continue
        ended = finished(study.runs)
        own = ended[~ended["run_id"].isin(seen)].reindex(columns=COLUMNS)
        seen.update(own["run_id"])
        if len(own):
            found[study.name] = _facts(own)
    if not found:
        raise LookupError("no run of the paper's studies has ended")
    return found


def summed(studies: Mapping[str, Facts]) -> Facts:
    """Add up the facts of some studies, and say what git knows of the rules."""
    every = list(studies.values())
    commit, written = _commit_of_rules()
    return {
        **{"runs": sum(one["runs"] for one in every), "studies": list(studies)},
        **{key: sorted({value for one in every for value in one[key]}) for key in LISTS},
        **{"first": min(one["first"] for one in every), "last": max(one["last"] for one in every)},
        "hours": round(sum(one["hours"] for one in every), 1),
        **{"rules": commit, "rules_date": written},
        "by_study": dict(studies),
    }


def _facts(runs: pd.DataFrame) -> Facts:
    return {
        "runs": len(runs),
        "seeds": sorted({int(seed) for seed in runs["seed"]}),
        **{"first": _minute(runs["start_ms"].min()), "last": _minute(runs["end_ms"].max())},
        "hours": round(float((runs["end_ms"] - runs["start_ms"]).sum()) / 3.6e6, 3),
        "hardware": _distinct(runs["hardware"]),
        "code": _distinct(runs["git_commit"].str.replace(r"^(\w{10})\w*", r"\1", regex=True)),
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
