"""What both sides of the benchmark are given: models and prompts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from tests.benchmarks.cases import Place, Size
from workbench.loading import small_gpt2
from workbench.models import Policy, Scorer
from workbench.progress import listening
from workbench.settings import TrainingSettings
from workbench.stages.sft import fine_tune
from workbench.tasks.base import Demonstration, Task, Tokens
from workbench.tasks.dialogue.task import DialogueTask

LEARNING_RATE = 1e-12
"""Too small to move a weight in float32, so both sides keep the lengths of the same start policy."""
KL_WEIGHT = 0.05
CLIP_RANGE = 0.2
TRACE = 0.95
SEED = 0
CPU = Place()
SFT_LEARNING_RATE = 4e-3
"""Learning rate of the few supervised steps."""


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


def make_common(size: Size, folder: Path, place: Place = CPU) -> Common:
    """Train a start policy for a few steps, derive a reward model from it, save both.

    Args:
        size: of models and iteration.
        folder: gets the models; those that it has already are taken as they are.
        place: where to train.
    """
    common = load_common(size, folder)
    if common.scorer.is_dir():
        return common
    task, tokenizer = common.task, common.task.tokenizer
    pad, eos = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
    policy = Policy()
    policy.model = small_gpt2(
        vocabulary=size.vocabulary or len(tokenizer), context=128, width=size.width,
        layers=size.layers, heads=size.heads, pad=pad, eos=eos, seed=SEED,
    )  # fmt: skip
    if size.sft_steps:
        training = TrainingSettings(steps=size.sft_steps, batch_size=32, learning_rate=SFT_LEARNING_RATE)
        with silence():
            fine_tune(
                policy, joined(task.demonstrations(), size), training,
                accelerator=accelerator(place), pad=pad, seed=SEED,
            )  # fmt: skip
    policy.model.save_pretrained(common.policy)
    tokenizer.save_pretrained(common.policy)
    scorer = Scorer()
    scorer.load_trunk(common.policy, head_std=(size.width + 1) ** -0.5, seed=SEED)
    scorer.model.save_pretrained(common.scorer)
    return common


def joined(demonstrations: Sequence[Demonstration], size: Size) -> Sequence[Demonstration]:
    """Answer a prompt with several responses in a row, one end token behind the last, cut at the cap."""
    if size.joined == 1:
        return demonstrations
    long = []
    for first in range(0, len(demonstrations) - size.joined + 1, size.joined):
        *opening, last = (d.response for d in demonstrations[first : first + size.joined])
        response = (*(token for part in opening for token in part[:-1]), *last)
        long.append(Demonstration(demonstrations[first].prompt, response[: size.cap]))
    return long


def load_common(size: Size, folder: Path) -> Common:
    """Say where the models are that `make_common` has left in a folder."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    task = DialogueTask()
    prompts = task.train_prompts()[: size.prompts]
    return Common(size, task, prompts, folder / "policy", folder / "scorer")


def accelerator(place: Place) -> Accelerator:
    """Make the accelerator of a place; in one process all have to be of the same."""
    return Accelerator(cpu=place.device == "cpu", mixed_precision=place.precision)


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
