"""The verdicts on the paper's claims: recomputed from a store, or as the repository keeps them."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.table import Table

from analysis import store
from analysis.claims import CLAIMS, Claim, Open
from analysis.evidence import Arms
from analysis.intervals import FloatArray, floats, interval
from analysis.loading import load
from analysis.verdicts import Evidence, Part, Verdict, decide

KEPT = Path(__file__).parents[2] / "docs" / "paper" / "verdicts.json"
"""Verdicts of the runs that docs/paper.md tells of."""
PREFIXED = frozenset("0123456789")
NOTHING: Mapping[str, Evidence] = MappingProxyType({})


def study_name(name: str, setting: str = "") -> str:
    """Return the full name of a study of the paper: "04" is `figure_04`; settings follow a dot."""
    full = f"figure_{name}" if name[0] in PREFIXED else name
    return f"{full}.{setting}" if setting else full


def opener(tracking_uri: str, setting: str = "") -> Open:
    """Return what opens the paper's studies in a store, each read once.

    It raises a LookupError for a study that is not there.

    Args:
        tracking_uri: MLflow store with the paper's studies.
        setting: which set of studies: "" is the one on which the rules were calibrated.
    Raises:
        ValueError: if there is no store, or it has no study of this setting.
    """
    there = frozenset(store.experiment_names(tracking_uri))
    if setting and not any(name.endswith(f".{setting}") for name in there):
        raise ValueError(f"there is no study of the setting {setting!r} in {tracking_uri}")

    @cache
    def open_study(name: str) -> Arms:
        full = study_name(name, setting)
        if full not in there:
            raise LookupError(f"study {full} is not there")
        return Arms(load(full, tracking_uri))

    return open_study


def judge(
    open_study: Open, claims: Sequence[Claim] = CLAIMS, before: Mapping[str, Evidence] = NOTHING
) -> list[Verdict]:
    """Decide the claims by the runs of a store, together, as Holm's correction wants.

    Args:
        open_study: of `opener`; a study that is missing leaves its claims open.
        claims: which to decide.
        before: what other runs have shown, by claim; it counts where they are of more seeds.
    """

    def evidence(claim: Claim) -> Evidence:
        try:
            parts: tuple[Part, ...] = tuple(claim.rule(open_study))
        except (LookupError, ValueError) as error:
            found = Evidence(claim.id, claim.figure, claim.says, (), str(error))
        else:
            found = Evidence(claim.id, claim.figure, claim.says, parts)
        return max((found, before.get(claim.id, found)), key=lambda one: one.seeds)

    return decide([evidence(claim) for claim in claims])


def evidence_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Evidence]:
    """Return by claim what the rows of `as_rows` were decided by, as far as they keep its values."""
    return {
        row["id"]: Evidence(row["id"], row["figure"], row["says"], tuple(map(_part, row["parts"])))
        for row in rows
        if row["parts"] and all("values" in part for part in row["parts"])
    }


def _part(row: Mapping[str, Any]) -> Part:
    return Part(row["part"], row["unit"], floats(row["values"]), row["bound"], row["kind"])


def as_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Return verdicts as plain data: one object a claim, its deciding part in it and all parts below."""
    return [_row(verdict) for verdict in verdicts]


def _row(verdict: Verdict) -> dict[str, Any]:
    part = verdict.deciding
    told = part_row(part) if part else dict.fromkeys(("part", "unit", "effect", "low", "high"))
    return {
        **{"id": verdict.id, "figure": verdict.figure, "says": verdict.says},
        **{"verdict": verdict.answer, "p": _known(verdict.p), "n": 0, **told},
        "note": verdict.note,
        "parts": [
            part_row(one) | {"is_shown": one.is_shown, "values": one.values.tolist()}
            for one in verdict.parts
        ],
    }


def part_row(part: Part) -> dict[str, Any]:
    """Return a part as plain data."""
    return {
        **mean_row(part.what, part.unit, part.values),
        **{"kind": part.kind, "bound": part.bound, "p_for": part.p_for, "p_against": part.p_against},
    }


def mean_row(what: str, unit: str, values: FloatArray) -> dict[str, Any]:
    """Return a mean over seeds with its 95 % interval by Student's t, as plain data.

    Args:
        what: in words.
        unit: of the values.
        values: [n] one number a seed.
    """
    found = interval(values)
    return {
        **{"part": what, "unit": unit, "effect": _known(found.estimate)},
        **{"low": _known(found.low), "high": _known(found.high), "n": found.n},
    }


def _known(value: float) -> float | None:
    """Return a number, None for NaN, which JSON does not have."""
    return value if np.isfinite(value) else None


def save(verdicts: Sequence[Verdict], about: dict[str, Any], path: Path) -> None:
    """Keep verdicts with what is to be known about their runs: commit, command, date, hardware."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {**about, "claims": as_rows(verdicts)}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def kept(path: Path | None = None) -> dict[str, Any]:
    """Return what `save` kept, by default in KEPT.

    Raises:
        FileNotFoundError: if nothing was.
    """
    path = path or KEPT
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; run `make paper`, or name a store with --home")
    return dict(json.loads(path.read_text()))


def as_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return one line a claim for people: what the paper says, what was found, the verdict."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("claim", "figure", "the paper says", "found (the part that decides)", "verdict"):
        drawn.add_column(name, overflow="fold")
    for row in rows:
        found = row["note"] if row["effect"] is None else found_in_words(row)
        drawn.add_row(row["id"], row["figure"], row["says"], found, row["verdict"])
    return drawn


def found_in_words(part: dict[str, Any]) -> str:
    """Write down one part: effect, interval, n, and what had to be shown."""
    bound = f"> {part['bound']:.3g}" if part["kind"] == "above" else f"within ±{part['bound']:.3g}"
    is_known = part["low"] is not None
    interval = f"[{part['low']:.2f}, {part['high']:.2f}]" if is_known else "[no interval]"
    effect = f"{part['effect']:+.2f} {interval} {part['unit']}, n {part['n']}"
    return f"{part['part']}: {effect}; to be {bound}"
