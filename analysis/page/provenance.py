"""How a study was run, and what its policies said: facts and sample responses for the report."""

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from analysis.page.rows import some
from analysis.runs import Study
from analysis.selection import shown_arms

SAMPLES = 3
"""Sample responses shown per arm."""


def facts(study: Study, runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return how the study was run, as pairs of a name and a value; only what is known.

    Args:
        study: whose tags tell.
        runs: of `stability.stability_table`, for the time they took.
    """
    spec, settings = study.spec, study.spec["settings"] or {}
    seconds = runs["seconds"].sum() if len(runs) else 0.0
    end = study.runs["end_ms"].max() if len(study.runs) else None
    known = {
        "task": spec["task"],
        "settings": ", ".join(f"{key} = {value}" for key, value in settings.items()),
        "command": spec["command"],
        "arms": some(study.arms, 24),
        "seeds": ", ".join(map(str, spec["seeds"])),
        "iterations": spec["iterations"],
        "responses per iteration": spec["rollout_size"],
        "recipes": _recipes(study),
        "prepared models": study.prepared.get("hash", ""),
        "time to prepare": _duration(study.prepared.get("seconds")),
        "time of all runs": _duration(seconds),
        "last run ended": _date(end),
        "hardware": _distinct(study, "hardware"),
        "versions": _versions(study),
        "code": _distinct(study, "git_commit"),
    }
    return [(name, str(value)) for name, value in known.items() if value not in ("", None)]


def _recipes(study: Study) -> str:
    """Return the hash of each arm's recipe."""
    if "recipe_hash" not in study.runs:
        return ""
    found = study.runs.dropna(subset=["recipe_hash"]).drop_duplicates("arm")
    return some(
        [f"{arm} {one}" for arm, one in zip(found["arm"], found["recipe_hash"], strict=True)], 24
    )


def _duration(seconds: float | None) -> str:
    if not seconds:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _date(milliseconds: Any) -> str:
    if milliseconds is None or pd.isna(milliseconds):
        return ""
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _distinct(study: Study, column: str) -> str:
    if column not in study.runs:
        return ""
    return ", ".join(sorted(study.runs[column].dropna().astype(str).unique()))


def _versions(study: Study) -> str:
    found = []
    for text in study.runs["versions"].dropna().unique() if "versions" in study.runs else ():
        try:
            found.append(", ".join(f"{name} {value}" for name, value in json.loads(text).items()))
        except (ValueError, AttributeError):
            found.append(str(text))
    return "; ".join(sorted(found))


def samples(study: Study) -> list[dict[str, Any]]:
    """Read sample responses: of each arm shown the first run that has any, at its last iteration."""
    found = []
    for arm in shown_arms(study):
        for _, run in study.runs_of(arm).iterrows():
            rows = _sample_rows(study, str(run["run_id"]))
            if rows:
                found.append({"arm": arm, "seed": run["seed"], "rows": rows})
                break
    return found


def _sample_rows(study: Study, run_id: str) -> list[dict[str, Any]]:
    file = study.artifact_path(run_id, "samples.json")
    if file is None:
        return []
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        last = max((row["iteration"] for row in rows), default=0)
        return [row for row in rows if row["iteration"] == last][:SAMPLES]
    except (ValueError, KeyError, TypeError):
        return []
