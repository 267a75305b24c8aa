"""Prepare what all arms share, and describe the policy from which they start."""

import shutil
import time
from pathlib import Path

from ablations.folder import StudyFolder
from ablations.plan import ChangedStudyError, Plan
from ablations.pruners import NO_JUDGE
from ablations.study import Study
from workbench.device import make_accelerator, takes_gpu
from workbench.loading import require_folder
from workbench.progress import say
from workbench.stages.prepare import Prepared, prepare
from workbench.tasks import make_task
from workbench.tasks.base import Task
from workbench.training import Run


def check_inputs(study: Study, device: str) -> Task:
    """Refuse data, model folders or a device that cannot be used, before anything is written.

    Args:
        study: that is to be prepared.
        device: on which.
    Returns:
        the task, with its data read.
    Raises:
        FileNotFoundError: if a file or folder is not there.
        ValueError: if the data or the device cannot be used.
    """
    takes_gpu(device)
    for path in (study.prepare.policy.path, study.prepare.reward_model.path):
        if path:
            require_folder(path)
    task = make_task(study.task)
    if task.gold((), ()) is None:
        _refuse_gold(study)
    return task


def prepare_models(folder: StudyFolder, plan: Plan, task: Task | None) -> Prepared:
    """Run the three stages with progress bars, or take from the cache what was made before.

    Args:
        folder: of the study.
        plan: what was agreed on.
        task: the study's task, or None to read it.
    Returns:
        folders of the models and the facts about them, the start on held-out prompts among them.
    """
    study, start = plan.study, time.monotonic()
    _remove_partial(folder.home / "prepared")
    task, accelerator = task or make_task(study.task), make_accelerator(plan.device)
    say(task.summary())
    recipe, seed = next(iter(study.recipes.values())), study.seeds[0]
    settings, ppo = study.prepare.for_run(seed), study.ppo
    cap, rows = ppo.max_response_tokens, ppo.micro_batch_size
    prepared = prepare(task, settings, folder.home, accelerator, cap, rows)
    seconds = time.monotonic() - start
    run = Run(task, recipe, ppo, prepared, seed, folder.path, accelerator)
    folder.write_prepared(prepared, run.evaluator.facts(), seconds)
    written = folder.read_prepared()
    if written is None:
        raise FileNotFoundError(f"prepared models vanished from {folder.home / 'prepared'}")
    return written


def require_same_data(prepared: Prepared, task: Task, study: str) -> None:
    """Refuse other data than those from which the models were prepared; settings name the path alone.

    Raises:
        ChangedStudyError: if their content has changed since.
    """
    if prepared.data not in (None, task.fingerprint()):
        raise ChangedStudyError(
            f"the content of the data has changed since study {study} was prepared;"
            " put the old data back, or give the study another name"
        )


def _refuse_gold(study: Study) -> None:
    if study.prune and study.prune.rule == "gold":
        raise ValueError(NO_JUDGE)
    if study.search and study.search.judged_by_gold:
        wanted = " and ".join(study.search.judged_by_gold)
        raise ValueError(
            f"search goes by {wanted}, and the task has no gold judge;"
            " name other metrics, such as `objectives: {final/win_rate: maximize}`"
        )


def _remove_partial(cache: Path) -> None:
    """Remove what a killed process left half-made."""
    for partial in cache.glob(".partial-*"):
        owner = Path("/proc") / partial.name.rpartition("-")[2]
        if Path("/proc/self").exists() and not owner.exists() and partial.is_dir():
            shutil.rmtree(partial)
