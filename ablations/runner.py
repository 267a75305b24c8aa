"""Run a study: prepare once, enqueue what is missing, keep workers busy, lose nothing."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablations.cells import Cell
from ablations.designs.facts import design_facts
from ablations.estimate import Estimate, estimate
from ablations.folder import StudyFolder
from ablations.joining import share
from ablations.launchers.base import Launcher, make_job
from ablations.launchers.local import Local
from ablations.lending import require_lenders
from ablations.opening import look_at_trials, open_trials
from ablations.plan import GRACE_SECONDS, ChangedStudyError, Plan, agree, chosen, compare, make_plan
from ablations.preparation import check_inputs, prepare_models, require_same_data
from ablations.records import Status
from ablations.storage import open_storage, require_shareable
from ablations.study import Study
from ablations.supervisor import Supervisor
from workbench.environment import settle_process
from workbench.progress import say
from workbench.signals import sigterm_as_ctrl_c
from workbench.stages.prepare import Prepared
from workbench.tasks import make_task
from workbench.tasks.base import Task
from workbench.tracking.store import EXPERIMENT_TAG_LIMIT, default_store


@dataclass(frozen=True)
class Options:
    """How a study is run; nothing here changes its numbers, except that a device may round otherwise.

    Attributes:
        workers: at a time.
        tracking_uri: MLflow store; None is the home folder's own.
        device: "auto", "cpu" or "cuda".
        command: what to type to go on.
        storage: where the trials are; None is a journal file in the study's folder.
        grace_seconds: silence after which a worker on another machine is taken for dead.
        launcher: starts the workers.
        threads: of each process; None shares the cores out.
    """

    workers: int
    tracking_uri: str | None = None
    device: str = "auto"
    command: str = ""
    storage: str | None = None
    grace_seconds: float = GRACE_SECONDS
    launcher: Launcher = field(default_factory=Local)
    threads: int | None = None


def default_workers(study: Study, launcher: Launcher) -> int:
    """Return as many workers as the launcher has room for, but no more than can be claimed."""
    cells = len(study.seeds) * (len(study.arms) - len(study.lent))
    return min(launcher.room, study.search.trials if study.search else cells)


def ablate(study: Study, home: Path, options: Options) -> list[Status]:
    """Run every cell of a study that is not done, and say how all of them stand.

    Args:
        study: what to run.
        home: folder of stores, models and studies.
        options: how to run it.
    Returns:
        status of every cell, in the order of the design.
    Raises:
        LockedError: if the study is running already.
        ChangedStudyError: if it was begun with other settings.
        OtherModelsError: if another host began it with other weights.
        StoppedError: if the disk is full, the storage of trials stays away, or all workers die early.
        StorageError: if the storage of trials cannot be reached.
        TrackingError: if the MLflow store cannot be reached as the study begins, or refuses.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, when the workers have written their checkpoints.
    """
    with begun(study, home, options) as (folder, plan, task):
        for arm, recipe in study.recipes.items():
            if stillness := recipe.stillness(study.ppo.iterations):
                say(f"arm {arm}: {stillness}")
        trials = open_trials(folder, plan)
        share(trials, plan)
        trials.sweep()
        trials.enqueue("missing", "failed")
        if not all(status.is_done for status in trials.status()):
            share(trials, plan, prepare_study(folder, plan, task))
            Supervisor(trials, options.launcher, make_job(folder, plan), options.workers).run()
        if reason := trials.shortfall:
            say(reason)
        statuses = trials.status()
        for done in (status.cell for status in statuses if status.is_done):
            folder.tidy(done)
        return statuses


def prepare_only(study: Study, home: Path, options: Options) -> Prepared:
    """Begin a study and prepare its models, without training any arm."""
    with begun(study, home, options) as (folder, plan, task):
        trials = open_trials(folder, plan)
        share(trials, plan)
        prepared = prepare_study(folder, plan, task)
        share(trials, plan, prepared)
        return prepared


def dry_run(study: Study, home: Path, options: Options) -> tuple[list[Status], Estimate | None]:
    """Say how every cell stands and what is left would cost; writes nothing.

    Returns:
        status of every cell once the estimate is made, and the estimate, None if nothing is left.
    Raises:
        ChangedStudyError: if the study was begun with other settings.
    """
    settle_process()
    folder = StudyFolder(home, study.name)
    plan = compare(folder, _plan(study, options))

    def look() -> list[Status]:
        is_begun = folder.file.is_file()
        return look_at_trials(folder, plan.outline).status() if is_begun else _unbegun(plan)

    left = [plan.stand_in(status.cell) for status in look() if not status.is_done]
    cost = estimate(folder, plan, left, options.workers) if left else None
    return look(), cost


@contextmanager
def begun(study: Study, home: Path, options: Options) -> Iterator[tuple[StudyFolder, Plan, Task | None]]:
    """Hold a study inside the block, with its inputs checked and its MLflow experiments made.

    What was asked for is written down last: a mistyped device or address must not bind the study to it.

    Yields:
        its folder, its plan, and its task, None if its models are prepared.
    """
    settle_process()
    folder = StudyFolder(home, study.name)
    with folder.lock(), sigterm_as_ctrl_c():
        plan = compare(folder, _plan(study, options))
        require_shareable(plan.storage, options.workers)
        task = None if folder.read_prepared() else check_inputs(study, options.device)
        require_lenders(home, plan)
        open_storage(plan.storage, folder.journal)
        store = default_store(folder.home, plan.tracking_uri)
        experiment = store.create_experiment(study.name)
        store.create_experiment(f"{study.name}/summary")
        _refuse_strangers(store.runs(experiment), plan)
        agree(folder, plan)
        store.tag_experiment(study.name, {"workbench.study": study_tag(plan)})
        yield folder, plan, task


def prepare_study(folder: StudyFolder, plan: Plan, task: Task | None) -> Prepared:
    """Prepare the models that all arms share, unless that was done, and describe them in MLflow.

    Raises:
        ChangedStudyError: if that was done, and the content of the data has changed since.
    """
    prepared = folder.read_prepared()
    if prepared is None:
        prepared = prepare_models(folder, plan, task)
    else:
        require_same_data(prepared, make_task(plan.study.task), folder.name)
    store = default_store(folder.home, plan.tracking_uri)
    store.tag_experiment(folder.name, {"workbench.prepared": prepared_tag(prepared.facts)})
    return prepared


def study_tag(plan: Plan) -> dict[str, Any]:
    """Describe the study for the experiment's tag `workbench.study`."""
    study = plan.study
    tag: dict[str, Any] = {
        "name": study.name,
        "question": study.question,
        "task": study.task.name,
        "settings": chosen(study),
        "arms": list(study.arms),
        "lent": study.lent,
        "design": design_facts(study),
        "baseline": study.baseline,
        "seeds": study.seeds,
        "iterations": study.ppo.iterations,
        "rollout_size": study.ppo.rollout_size,
        "command": plan.command,
    }
    for long in ("settings", "seeds", "arms"):  # the analysis then goes by the runs
        if len(json.dumps(tag)) >= EXPERIMENT_TAG_LIMIT:
            del tag[long]
    return tag


def prepared_tag(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the prepared models for the tag `workbench.prepared`, thinning curves until it fits."""
    tag: dict[str, Any] = json.loads(json.dumps(facts))
    tag["reward_model"]["gold_correlation"] = tag["start"].pop("gold_correlation", None)
    while len(json.dumps(tag)) >= EXPERIMENT_TAG_LIMIT:
        curves = [stage for stage in tag.values() if isinstance(stage, dict) and stage.get("curve")]
        if not curves:
            raise ValueError("the facts about the prepared models do not fit into an MLflow tag")
        longest = max(curves, key=lambda stage: len(stage["curve"]))
        longest["curve"] = longest["curve"][1::2]
    return tag


def _unbegun(plan: Plan) -> list[Status]:
    cells = list(plan.outline.cells.values())
    if plan.study.search:
        cells = [
            Cell(f"proposal {number}", seed)
            for number in range(plan.study.search.trials)
            for seed in plan.study.seeds
        ]
    return [Status(cell, "missing", 0) for cell in cells]


def _plan(study: Study, options: Options) -> Plan:
    threads = options.threads or options.launcher.threads(options.workers)
    return make_plan(
        study, tracking_uri=options.tracking_uri, device=options.device,
        threads=threads, command=options.command, storage=options.storage,
        grace_seconds=options.grace_seconds,
    )  # fmt: skip


def _refuse_strangers(runs: Iterable[Any], plan: Plan) -> None:
    """Refuse an MLflow experiment with runs of another study of the same name."""
    for run in runs:
        tags = run.data.tags
        arm = tags.get("workbench.cell", "").rpartition("/s")[0]
        same = plan.study.search or tags.get("recipe_hash") == plan.recipes.get(arm)
        if "workbench.cell" in tags and not (same and tags.get("settings_hash") == plan.settings_hash):
            raise ChangedStudyError(
                f"experiment {plan.study.name} in MLflow already holds {tags['workbench.cell']} with"
                " other settings; give the study another name, or delete the experiment"
            )
