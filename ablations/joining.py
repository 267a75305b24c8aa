"""Join a study from a host that reaches its storage of trials, but perhaps not its folder."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ablations.folder import MODELS, StudyFolder, find_study
from ablations.locks import write_whole
from ablations.plan import require_plan
from ablations.preparation import prepare_models
from ablations.storage import masked, open_storage, patiently
from ablations.trials import AGREEMENT
from workbench.names import unknown
from workbench.stages.prepare import Prepared


class OtherModelsError(RuntimeError):
    """This host prepares other weights than the study's."""


def join(home: Path, name: str, storage: str | None) -> StudyFolder:
    """Return a study's folder; made here from what the storage says, where the disk is not shared.

    Without a shared disk, models are prepared here again. Runs compare only if they start from the same
    weights, so this host has to arrive at the same ones to the last bit.

    Args:
        home: home folder on this host.
        name: of the study.
        storage: address of the trials; None for a study whose folder is here.
    Raises:
        FileNotFoundError: if there is no such study.
        OtherModelsError: if this host prepares other weights.
    """
    folder = StudyFolder(home, name)
    if storage is None or folder.file.is_file():
        return find_study(home, name)
    agreement = _agreement(storage, name, folder)
    write_whole(folder.file, {**agreement["plan"], "storage": storage})
    prepared = folder.read_prepared() or prepare_models(folder, require_plan(folder), None)
    if weights_hash(prepared) != agreement["weights"]:
        folder.file.unlink()
        raise OtherModelsError(
            f"this host prepares other weights than those that study {name} began with;"
            f" let it share the home folder of the host that began it (--home), instead of {home}"
        )
    return folder


def weights_hash(prepared: Prepared) -> str:
    """Hash the weights of the prepared models."""
    digest = hashlib.sha256()
    for name in MODELS:
        for file in sorted(getattr(prepared, name).glob("*.safetensors")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _agreement(storage: str, name: str, folder: StudyFolder) -> dict[str, Any]:
    trials = open_storage(storage, folder.journal)
    known = {study.study_name: study._study_id for study in patiently(trials.get_all_studies)}
    if name not in known:
        raise FileNotFoundError(unknown("study", name, known, where=masked(storage)))
    agreement = patiently(lambda: trials.get_study_user_attrs(known[name])).get(AGREEMENT)
    if agreement is None:
        raise FileNotFoundError(f"study {name} is not prepared yet; wait for `workbench ablate`")
    return dict(json.loads(json.dumps(agreement)))
