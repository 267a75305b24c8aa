"""What a study will cost, from a few real iterations of each arm: time, memory, disk."""

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ablations.cells import Cell
from ablations.folder import StudyFolder
from ablations.plan import Plan
from workbench.checkpoint import KEPT
from workbench.device import make_accelerator
from workbench.loading import load_causal, require_folder, small_gpt2
from workbench.models import Policy, Scorer
from workbench.progress import listening, track
from workbench.settings import PpoSettings
from workbench.stages.compatibility import require_fit
from workbench.stages.prepare import Prepared
from workbench.stages.pretrain import pretrain
from workbench.tasks import make_task
from workbench.tasks.base import Task
from workbench.training import NoTracker, Run

ITERATIONS = 2
STEPS = (2, 8)
"""Two short trainings, whose difference leaves out what happens once."""
STORE_BYTES = 1_000_000
POINT_BYTES = 281
"""An empty MLflow database, and what it grows by per metric point."""


@dataclass(frozen=True)
class Estimate:
    """What is left to do costs this.

    Attributes:
        train_seconds: of PPO in all cells that are not done, with the given workers.
        prepare_seconds: of pre-training and SFT; None where the models are prepared.
        trains_reward_model: whether preparing trains one, or one a seed, which is not timed.
        memory_bytes: peak of all processes together.
        disk_bytes: checkpoints, policies and metrics when all is done.
        basis: how it was measured, in words.
    """

    train_seconds: float
    prepare_seconds: float | None
    trains_reward_model: bool
    memory_bytes: float
    disk_bytes: float
    basis: str


def silent() -> AbstractContextManager[None]:
    """Return a context in which no bar is shown."""
    return listening(lambda done, total, title: None)


def estimate(folder: StudyFolder, plan: Plan, cells: Sequence[Cell], workers: int) -> Estimate:
    """Time a few iterations of every arm and extrapolate.

    On prepared models if there are some; else on models without training, whose responses run to the
    cap, which is an upper bound.

    Args:
        folder: of the study.
        plan: what would run.
        cells: that are not done.
        workers: processes at a time.
    Raises:
        ValueError: if the task's texts and the models do not fit, as preparing would.
    """
    torch.set_num_threads(plan.threads)
    task, accelerator = make_task(plan.study.task), make_accelerator(plan.device)
    prepared, prepare_seconds = folder.read_prepared(), None
    basis = f"{ITERATIONS} iterations of each arm on the prepared models"
    with tempfile.TemporaryDirectory() as scratch:
        if prepared is None:
            prepared, prepare_seconds = _untrained(task, plan, Path(scratch))
            basis = f"{ITERATIONS} iterations of each arm on untrained models, an upper bound"
        full = plan.study.ppo
        short = full.model_copy(update={"iterations": ITERATIONS, "eval_every": 1})
        seconds = dict.fromkeys((cell.arm for cell in cells), 0.0)
        for arm in track(tuple(seconds), total=len(seconds), title="timing each arm"):
            place = Path(scratch) / arm
            run = Run(task, plan.recipe(arm, {}), short, prepared, 0, place, accelerator)
            seconds[arm] = _time(run, full)
    per_run = _run_bytes(run, full)
    return Estimate(
        train_seconds=sum(seconds[cell.arm] for cell in cells) / min(workers, len(cells)),
        prepare_seconds=prepare_seconds,
        trains_reward_model=not plan.study.prepare.reward_model.path and task.own_reward is None,
        memory_bytes=_peak_bytes() * (1 + min(workers, len(cells))),
        disk_bytes=STORE_BYTES + len(cells) * per_run + workers * KEPT * _checkpoint_bytes(run),
        basis=basis,
    )


def _time(run: Run, full: PpoSettings) -> float:
    """Time a short run, and extrapolate iterations and evaluations apart to the full length."""
    start = time.monotonic()
    run.ppo  # noqa: B018 - loading the models is timed apart
    loading = time.monotonic() - start
    start = time.monotonic()
    with silent():
        run.train(NoTracker())
    wall = time.monotonic() - start
    iterations = [m["time/iteration_seconds"] for _, m in run.history if "time/iteration_seconds" in m]
    evaluations = ITERATIONS + 3  # one before each iteration, one at the end, the start, the samples
    evaluation = max(0.0, wall - sum(iterations)) / evaluations
    evaluated = full.iterations / full.eval_every + 3
    return loading + min(iterations) * full.iterations + evaluation * evaluated


def _untrained(task: Task, plan: Plan, scratch: Path) -> tuple[Prepared, float]:
    """Make models that were not trained, and extrapolate the time of training from a few steps."""
    prepare, tokenizer = plan.study.prepare, task.tokenizer
    require_fit(task, prepare, plan.study.ppo.max_response_tokens)
    model, folder = prepare.policy, scratch / "untrained"
    accelerator = make_accelerator(plan.device)
    policy = Policy(rows_at_once=plan.study.ppo.micro_batch_size)
    pad, eos = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
    if model.path:
        require_folder(model.path)
        policy.model = load_causal(model.path)
    else:
        policy.model = small_gpt2(
            vocabulary=len(tokenizer), context=model.context, width=model.width,
            layers=model.layers, heads=model.heads, pad=pad, eos=eos, seed=0,
        )  # fmt: skip
    texts, taken = task.pretraining_texts(), {}
    for steps in STEPS:
        start = time.monotonic()
        short = prepare.pretrain.model_copy(update={"steps": steps})
        with silent():
            pretrain(policy, texts, short, accelerator=accelerator, pad=pad, seed=0)
        taken[steps] = time.monotonic() - start
    first, second = STEPS
    step = max(0.0, taken[second] - taken[first]) / (second - first)
    policy.model.save_pretrained(folder)
    scorer = Scorer()
    scorer.load_trunk(folder, head_std=0.1, seed=0)
    scorer.model.save_pretrained(folder / "reward_model")
    judge = folder / "reward_model" if task.judge_plan else None
    prepared = Prepared(folder, folder, folder / "reward_model", "untrained", {}, judge)
    pretraining_steps = 0 if model.path else prepare.pretrain.steps
    return prepared, step * (pretraining_steps + prepare.sft.steps)


def _run_bytes(run: Run, settings: PpoSettings) -> float:
    points = settings.iterations * len(run.history[0][1])
    return _bytes(run.ppo.models.policy) + points * POINT_BYTES


def _checkpoint_bytes(run: Run) -> float:
    weights_and_two_moments = 3
    models = run.ppo.models
    return weights_and_two_moments * (_bytes(models.policy) + _bytes(models.critic))


def _bytes(model: nn.Module) -> float:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _peak_bytes() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
