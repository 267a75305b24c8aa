"""TRL's side: its own train loop, timed between its own callbacks.

Kept in one file because `trl.experimental` may move; pinned to trl == 1.12.0.
"""

import contextlib
import gc
import io
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging

from tests.benchmarks.cases import Place
from tests.benchmarks.common import (
    CLIP_RANGE,
    CPU,
    KL_WEIGHT,
    LEARNING_RATE,
    SEED,
    TRACE,
    Common,
    left_padding_tokenizer,
)
from tests.benchmarks.floor import synchronised
from workbench.loading import load_causal, load_scorer

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

__all__ = ("Trl", "ppo_trainer")


class Trl:
    """TRL's PPOTrainer on the common models and prompts.

    Construction is outside the time. Sample completions, saving and tracking are off; metrics are
    computed but not printed. Inside is all else that its loop does, two full garbage collections per
    iteration included; their share is kept in `collect_seconds`.
    """

    def __init__(self, common: Common, folder: Path, place: Place = CPU) -> None:
        self.clock = _Clock()
        self.trainer = _make_trainer(common, _config(common, folder, place), self.clock)
        self.pad = int(common.task.tokenizer.pad_token_id)
        self.responses: list[torch.Tensor] = []
        self.collect_seconds: list[float] = []

    def block(self, iterations: int) -> list[float]:
        """Do iterations; return the seconds of each."""
        self.trainer.args.num_total_batches = iterations
        self.clock.marks.clear()
        with self._watching(iterations), contextlib.redirect_stdout(io.StringIO()):
            self.trainer.train()
        return self.clock.seconds()

    def response_tokens(self) -> list[int]:
        """Return the length of every response so far, end token included."""
        lengths = [(response != self.pad).sum(1) for response in self.responses]
        return [int(length) for length in torch.cat(lengths)]

    @contextlib.contextmanager
    def _watching(self, iterations: int) -> Iterator[None]:
        """Keep the responses, and the mean seconds per iteration spent in garbage collection."""
        truncate, collect = ppo_trainer.truncate_response, gc.collect
        spent: list[float] = []

        def remember(*arguments: Any) -> torch.Tensor:
            self.responses.append(truncate(*arguments))
            return self.responses[-1]

        def timed(generation: int = 2) -> int:
            start = time.perf_counter()
            found = collect(generation)
            spent.append(time.perf_counter() - start)
            return found

        with (
            mock.patch.object(ppo_trainer, "truncate_response", remember),
            mock.patch.object(gc, "collect", timed),
        ):
            yield
        self.collect_seconds.append(sum(spent) / iterations)


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Notes when training begins, when each iteration ends, when training ends."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.marks.append(synchronised())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.marks.append(synchronised())

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.marks[-1] = synchronised()  # what follows the last iteration's end is part of it

    def seconds(self) -> list[float]:
        return [after - before for before, after in zip(self.marks, self.marks[1:], strict=False)]


def _make_trainer(common: Common, config: PPOConfig, clock: _Clock) -> Any:
    transformers_logging.set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)
    prompts = Dataset.from_dict({"input_ids": [list(prompt) for prompt in common.prompts]})
    trainer = PPOTrainer(
        args=config,
        processing_class=left_padding_tokenizer(common),
        model=load_causal(common.policy),
        ref_model=load_causal(common.policy),
        reward_model=load_scorer(common.scorer),
        value_model=load_scorer(common.scorer),
        train_dataset=prompts,
        eval_dataset=prompts,
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _config(common: Common, folder: Path, place: Place) -> PPOConfig:
    size = common.size
    return PPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=size.prompts,
        gradient_accumulation_steps=1,
        num_mini_batches=size.minibatches,
        num_ppo_epochs=1,
        total_episodes=size.prompts,
        local_rollout_forward_batch_size=size.prompts,
        response_length=size.cap,
        temperature=1.0,
        stop_token="eos",
        kl_coef=KL_WEIGHT,
        cliprange=CLIP_RANGE,
        cliprange_value=CLIP_RANGE,
        lam=TRACE,
        gamma=1.0,
        learning_rate=LEARNING_RATE,
        bf16=place.precision == "bf16",
        gradient_checkpointing=False,
        use_cpu=place.device == "cpu",
        num_sample_generations=0,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        seed=SEED,
    )
