"""Workers that somebody, or a cluster's scheduler, starts by hand, beside or without `ablate`."""

import hashlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from ablations.folder import StudyFolder, find_study
from ablations.launchers.base import Worker, make_job
from ablations.launchers.local import Local
from ablations.liveness import Stop
from ablations.plan import ChangedStudyError, Plan, changes, require_plan, restore_plan
from ablations.preparation import prepare_models
from ablations.storage import masked, open_storage, patiently, require_shareable
from ablations.stored_trials import AGREEMENT
from ablations.trials import Trials
from ablations.worker import work
from workbench.locks import write_whole
from workbench.names import unknown
from workbench.stages.prepare import Prepared

POLL_SECONDS = 0.25
INTERRUPTED = 130
"""Exit status of a worker that was asked to stop, so that a scheduler knows that cells are left."""

OTHER_MODELS = (
    "this host prepares other weights than those that study {name} began with;"
    " let it share the home folder of the host that began it (--home), instead of {home}"
)


class OtherModelsError(RuntimeError):
    """This host prepares other weights than the study's."""


def join(folder: StudyFolder, *, name: str | None = None, processes: int = 1) -> int:
    """Train cells of a study until all are done, those that others leave behind among them.

    Args:
        folder: of the study.
        name: how to call this worker; None is `<host>:<process id>`.
        processes: that train each trial together.
    Returns:
        exit status: 0, `INTERRUPTED`, or that of `ablations.worker.work`.
    """
    require_shareable(folder.outline().storage, workers=2)
    stop = Stop()
    stop.listen(None)
    if processes == 1:
        status = work(folder, stop, name=name, until_done=True)
    else:
        plan = require_plan(folder)
        job = make_job(folder, plan, until_done=True)
        name = name or f"{socket.gethostname()}:{os.getpid()}"
        status = _accompany(Local(plan.device, processes).start(name, job), stop)
    return INTERRUPTED if stop.is_asked else status


def reach(home: Path, name: str, storage: str | None) -> StudyFolder:
    """Return a study's folder; made here from what the storage says, where the disk is not shared.

    Without a shared disk, models are prepared here again. Runs compare only if they start from the same
    weights, so this host has to arrive at the same ones to the last bit. What was agreed on is written
    down last: a start that is broken off leaves no study whose models nobody compared.

    Args:
        home: home folder on this host.
        name: of the study.
        storage: address of the trials; None for a study whose folder is here.
    Raises:
        ChangedStudyError: if the study's folder is here and names another storage.
        FileNotFoundError: if there is no such study.
        OtherModelsError: if this host prepares other weights.
    """
    folder = StudyFolder(home, name)
    if storage is None or folder.file.is_file():
        storage = _own_storage(find_study(home, name), storage)
    if storage is None:
        return folder
    agreement = _agreement(storage, name, folder)
    content = {**agreement["plan"], "storage": storage}
    prepared = folder.read_prepared() or prepare_models(folder, restore_plan(folder, content), None)
    if weights_hash(prepared) != agreement["weights"]:
        raise OtherModelsError(OTHER_MODELS.format(name=name, home=home))
    if not folder.file.is_file():
        write_whole(folder.file, content)
    return folder


def share(trials: Trials, plan: Plan, prepared: Prepared | None = None) -> None:
    """Keep what was agreed on beside the trials, for hosts that do not have the study's folder.

    Whoever reaches trials that are on the disk has the folder as well: then nothing is kept.

    Args:
        trials: of the study.
        plan: what this host would agree on.
        prepared: models of this host; None while they are not prepared.
    Raises:
        ChangedStudyError: if another host began the study with other settings.
        OtherModelsError: if it began with other weights.
    """
    if trials.is_on_disk:
        return
    known, name = trials.agreement, plan.study.name
    told = list(changes(known["plan"], plan.content())) if known else []
    if told:
        raise ChangedStudyError(
            f"study {name} was begun in {masked(plan.storage or '')} with other settings:"
            f" {'; '.join(told[:3])}; undo the change, or give the study another name"
        )
    before = known.get("weights")
    weights = weights_hash(prepared) if prepared else before
    if before and weights != before:
        raise OtherModelsError(OTHER_MODELS.format(name=name, home=trials.folder.home))
    agreement = {"plan": plan.content(), "weights": weights}
    if agreement != known:
        trials.share(agreement)


def weights_hash(prepared: Prepared) -> str:
    """Hash the weights of the prepared models."""
    digest = hashlib.sha256()
    for folder in prepared.folders.values():
        for file in sorted(folder.glob("*.safetensors")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _own_storage(folder: StudyFolder, storage: str | None) -> str | None:
    """Return the storage that a study was begun with, which may be named again."""
    kept = folder.outline().storage
    if storage not in (None, kept):
        raise ChangedStudyError(
            f"study {folder.name} keeps its trials in {masked(kept) if kept else 'a journal file'},"
            f" not in {masked(storage)}; leave --storage away, or begin a study of another name with it"
        )
    return kept


def _agreement(storage: str, name: str, folder: StudyFolder) -> dict[str, Any]:
    trials = open_storage(storage, folder.journal)
    known = {study.study_name: study._study_id for study in patiently(trials.get_all_studies)}
    if name not in known:
        raise FileNotFoundError(unknown("study", name, known, where=masked(storage)))
    agreement = patiently(lambda: trials.get_study_user_attrs(known[name])).get(AGREEMENT)
    if agreement is None or not agreement["weights"]:
        raise FileNotFoundError(
            f"study {name} is not prepared yet; wait for `workbench prepare` on the host that began it"
        )
    return dict(json.loads(json.dumps(agreement)))


def _accompany(worker: Worker, stop: Stop) -> int:
    """Wait for a worker's end, and pass on a request to stop.

    Returns:
        its exit status; 128 + number for one that a signal ended, as a shell has it.
    """
    was_asked = False
    while (status := worker.exit_status()) is None:
        if stop.is_asked and not was_asked:
            worker.ask_to_stop()
            was_asked = True
        time.sleep(POLL_SECONDS)
    if status:
        print(worker.last_words(), file=sys.stderr)
    return status if status >= 0 else 128 - status
