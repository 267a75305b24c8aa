"""Upload what runs could not deliver while the store was away."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from workbench.errors import one_sentence
from workbench.locks import LockedError
from workbench.progress import track
from workbench.tracking.delivery import Delivery
from workbench.tracking.spool import NAME, held_spool, read
from workbench.tracking.store import AwayError, store_at

PATIENCE_SECONDS = 10.0
"""Long enough for a lock, short enough for somebody who looks on."""

State = Literal["arrived", "unfinished", "busy", "failed"]
"""arrived: the store has all of it. unfinished: it has what there is. busy: a process writes it."""


@dataclass(frozen=True)
class Upload:
    """What became of one spool.

    Attributes:
        name: of the run, or of its folder where that is not known.
        state: see `State`.
        steps: how many were sent.
        reason: why not, in one sentence.
    """

    name: str
    state: State
    steps: int = 0
    reason: str = ""


def sync(folder: Path, uri: str | None = None) -> list[Upload]:
    """Upload every spool below a folder that no living process holds.

    Args:
        folder: a home folder, or that of a study.
        uri: store to send them to; None is the one that each run was meant for.
    Returns:
        what became of each; a store that is away is asked for the first of its spools alone.
    """
    spools, away = sorted(folder.rglob(NAME)), dict[str, Exception]()
    if not spools:
        return []
    return [_sync(path, uri, away) for path in track(spools, total=len(spools), title="uploading")]


def _sync(path: Path, uri: str | None, away: dict[str, Exception]) -> Upload:
    try:
        with held_spool(path.parent):
            return _upload(path, uri, away)
    except LockedError as error:
        return Upload(path.parent.name, "busy", reason=str(error))


def _upload(path: Path, uri: str | None, away: dict[str, Exception]) -> Upload:
    """Upload one spool, unless its store is known to be away; delete it if the run has ended."""
    if not path.exists():  # the run ended, or somebody uploaded it, while others were uploaded
        return Upload(path.parent.name, "arrived")
    opening = next(read(path), None)
    if opening is None:
        return Upload(path.parent.name, "unfinished")
    entry, _ = opening
    store = replace(store_at(entry["store"], path.parent), patience_seconds=PATIENCE_SECONDS)
    store = replace(store, uri=uri or store.uri)
    name, delivery = f"{entry['experiment']} {entry['name']}", Delivery(store, path)
    try:
        if store.uri in away:
            raise away[store.uri]
        store.patiently(delivery.advance)
    except Exception as error:
        if isinstance(error, AwayError):
            away[store.uri] = error
        return Upload(name, "failed", delivery.steps, one_sentence(error))
    if not delivery.is_over:
        return Upload(name, "unfinished", delivery.steps)
    path.unlink()
    return Upload(name, "arrived", delivery.steps)
