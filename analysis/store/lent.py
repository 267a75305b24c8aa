"""Arms of a study whose runs are those of another study in the same store."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from analysis import store
from analysis.store.raw import RawRun, RawStudy


def with_lent(
    raw: RawStudy, tracking_uri: str, metrics: frozenset[str] | None, lent: Mapping[str, str]
) -> tuple[RawStudy, list[str]]:
    """Add the runs of lent arms to those of a study, under the name that they have in the study.

    Args:
        raw: the study as it is in the store.
        tracking_uri: of the store.
        metrics: read these alone; None for all.
        lent: arm -> `study/arm` that it is.
    Returns:
        the study with these runs, and what is missing, in sentences.
    """
    found = {address.partition("/")[0]: None for address in lent.values()}
    lenders = {name: store.read(tracking_uri, name, metrics) for name in found}
    notes = []
    for arm, address in lent.items():
        study, _, other = address.partition("/")
        lender = lenders[study]
        runs = _of(lender.runs, other, arm) if lender else ()
        deleted = _of(lender.deleted, other, arm) if lender else ()
        if lender is None or not (runs or deleted):
            notes.append(f"Arm {arm} is that of study {study}, which has no runs of it in this store.")
            continue
        points = raw.points | {run.run_id: lender.points[run.run_id] for run in runs}
        raw = replace(raw, runs=raw.runs + runs, points=points, deleted=raw.deleted + deleted)
    return raw, notes


def _of(runs: Sequence[RawRun], lent: str, arm: str) -> tuple[RawRun, ...]:
    """Return the runs of a lent arm under the name that it has in the study."""
    own = [run for run in runs if run.params.get("arm") == lent]
    return tuple(replace(run, params={**run.params, "arm": arm}) for run in own)
