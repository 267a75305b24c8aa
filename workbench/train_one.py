"""One run outside of any study: prepare, train, log; taken up again by the same call."""

import os
import shutil
from pathlib import Path

from safetensors import SafetensorError

from workbench.checkpoint import cannot_write
from workbench.device import make_accelerator
from workbench.parallel import is_main
from workbench.progress import say
from workbench.recipe import Recipe
from workbench.settings import CollapseRule, PpoSettings, PrepareSettings, TaskSettings
from workbench.signals import stop_request
from workbench.stages.prepare import prepare
from workbench.tasks import make_task
from workbench.tracking.run_log import RunLog
from workbench.tracking.store import Store
from workbench.training import NoTracker, Pruner, Result, Run

EXPERIMENT = "train"


def train_one(
    recipe: Recipe,
    task_settings: TaskSettings,
    prepare_settings: PrepareSettings,
    ppo: PpoSettings,
    *,
    collapse_rule: CollapseRule,
    pruner: Pruner | None,
    seed: int,
    home: Path,
    store: Store,
    device: str,
) -> tuple[Path, Result]:
    """Train one recipe with one seed into the MLflow experiment `train`.

    Args:
        recipe: the tricks; its name is the run's arm.
        task_settings: which task.
        prepare_settings: models to start from; cached.
        ppo: settings besides the tricks.
        collapse_rule: when the run counts as collapsed.
        pruner: ends it once it has collapsed; None to go on to its last iteration.
        seed: of prompts, samples and minibatches.
        home: folder of caches and checkpoints.
        store: MLflow store.
        device: "auto", "cpu" or "cuda".
    Returns:
        folder of the final policy, and the result.
    Raises:
        Interrupted: on Ctrl-C or SIGTERM, when the checkpoint is written.
    """
    task, accelerator = make_task(task_settings), make_accelerator(device)
    say(task.summary())
    say(recipe.stillness(ppo.iterations))
    models = prepare_settings.for_run(seed)
    cap, rows = ppo.max_response_tokens, ppo.micro_batch_size
    prepared = prepare(task, models, home, accelerator, cap, rows)
    run = Run(
        task, recipe, ppo, prepared, seed, home / EXPERIMENT, accelerator, collapse_rule, pruner
    )  # fmt: skip
    run.folder = home / EXPERIMENT / f"{recipe.name}-s{seed}-{run.fingerprint}"
    with stop_request() as is_asked:
        if is_main():
            _, result = RunLog(store, EXPERIMENT, recipe.name, run, {}).train(is_asked)
        else:
            result = run.train(NoTracker(), is_asked)
    return save_policy(run), result


def save_policy(run: Run) -> Path:
    """Keep the final policy as a Hugging Face folder beside the checkpoints, whole or not at all.

    Several processes may call this; the main one writes.

    Raises:
        CheckpointError: if the disk is full.
    """
    policy, partial = run.folder / "policy", run.folder / f".partial-policy-{os.getpid()}"
    if is_main() and not policy.is_dir():
        try:
            run.ppo.models.policy.model.save_pretrained(partial)
            run.task.tokenizer.save_pretrained(partial)
            partial.rename(policy)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise cannot_write(policy, error) from error
    return policy
