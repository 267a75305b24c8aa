"""What both sides of the benchmark are given: models, prompts and sizes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from workbench.loading import small_gpt2
from workbench.models import Policy, Scorer
from workbench.progress import listening
from workbench.settings import TrainingSettings
from workbench.stages.sft import fine_tune
from workbench.tasks.base import Task, Tokens
from workbench.tasks.dialogue.task import DialogueTask

LEARNING_RATE = 1e-12
"""Too small to move a weight in float32, so both sides keep the lengths of the same start policy."""
KL_WEIGHT = 0.05
CLIP_RANGE = 0.2
TRACE = 0.95
SEED = 0


@dataclass(frozen=True)
class Size:
    """How large the models and one PPO iteration are; four optimiser steps, one epoch.

    Attributes:
        width: hidden size of all four models.
        layers: transformer blocks.
        heads: attention heads.
        prompts: responses per iteration.
        minibatches: optimiser steps per iteration.
        cap: longest response in tokens.
        sft_steps: supervised steps that give the start policy the task's response lengths.
    """

    width: int = 64
    layers: int = 2
    heads: int = 4
    prompts: int = 128
    minibatches: int = 4
    cap: int = 64
    sft_steps: int = 120


@dataclass(frozen=True)
class Common:
    """Hugging Face folders and prompts that both sides load.

    Attributes:
        size: of models and iteration.
        task: where prompts and tokenizer come from.
        prompts: the same in every iteration.
        policy: folder of policy and reference, with the tokenizer.
        scorer: folder of reward model and critic.
    """

    size: Size
    task: Task
    prompts: list[Tokens]
    policy: Path
    scorer: Path


def make_common(size: Size, folder: Path) -> Common:
    """Train a start policy for a few steps, derive a reward model from it, save both.

    Args:
        size: of models and iteration.
        folder: gets the models.
    """
    common = load_common(size, folder)
    task, tokenizer = common.task, common.task.tokenizer
    pad, eos = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
    policy = Policy()
    policy.model = small_gpt2(
        vocabulary=len(tokenizer), context=128, width=size.width, layers=size.layers,
        heads=size.heads, pad=pad, eos=eos, seed=SEED,
    )  # fmt: skip
    training = TrainingSettings(steps=size.sft_steps, batch_size=32, learning_rate=4e-3)
    with silence():
        fine_tune(
            policy, task.demonstrations(), training,
            accelerator=Accelerator(cpu=True), pad=pad, seed=SEED,
        )  # fmt: skip
    policy.model.save_pretrained(common.policy)
    tokenizer.save_pretrained(common.policy)
    scorer = Scorer()
    scorer.load_trunk(common.policy, head_std=(size.width + 1) ** -0.5, seed=SEED)
    scorer.model.save_pretrained(common.scorer)
    return common


def load_common(size: Size, folder: Path) -> Common:
    """Say where the models are that `make_common` has left in a folder."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    task = DialogueTask()
    prompts = task.train_prompts()[: size.prompts]
    return Common(size, task, prompts, folder / "policy", folder / "scorer")


def left_padding_tokenizer(common: Common) -> object:
    """Load the tokenizer again, padding on the left as a peer wants it."""
    tokenizer = AutoTokenizer.from_pretrained(common.policy)
    tokenizer.padding_side = "left"
    return tokenizer


@contextmanager
def silence() -> Iterator[None]:
    """Show no progress of what runs inside."""
    with listening(lambda done, total, title: None):
        yield
