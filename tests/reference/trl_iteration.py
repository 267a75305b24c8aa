"""Whole iterations of TRL 1.12.0's PPOTrainer on small models, with the numbers of every line kept.

The loop that runs is TRL's own. What is changed around it: the dice of `generate` are loaded, so that
the responses are the given ones; the shuffles are given; models and log-probabilities are in float64,
where TRL would take the logits of `generate`, which transformers rounds to float32.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback

from workbench.loading import load_causal, load_scorer

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

Rows = Sequence[Sequence[int]]

ROLLOUT = (
    "queries", "query_responses", "responses", "postprocessed_responses", "logprobs", "ref_logprobs",
    "values", "scores", "contain_eos_token", "sequence_lengths", "padding_mask", "padding_mask_p1",
    "kl", "rewards", "advantages", "returns",
)  # fmt: skip
STEP = ("new_logprobs", "vpred", "ratio", "logits", "pg_loss", "vf_loss", "loss")
"""Names that TRL's `train` gives to its tensors: of a rollout, and of one optimiser step."""


@dataclass(frozen=True)
class Folders:
    """Where the four models are."""

    policy: Path
    critic: Path
    reference: Path
    reward_model: Path


@dataclass
class Iteration:
    """One iteration of TRL.

    Attributes:
        generated: log-probabilities of the responses by the logits of `generate`, in float32.
        rollout: tensors of the rollout by TRL's names, as they are when the update begins.
        steps: tensors of each backward pass by TRL's names, and `rows`, which responses they are of.
        metrics: what TRL logs.
        policy: weights after the iteration.
        critic: weights after the iteration.
    """

    generated: Tensor
    rollout: dict[str, Tensor] = field(default_factory=dict)
    steps: list[dict[str, Tensor]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    policy: dict[str, Tensor] = field(default_factory=dict)
    critic: dict[str, Tensor] = field(default_factory=dict)

    def prompts(self, pad: int) -> list[tuple[int, ...]]:
        """Return the prompts without their padding."""
        return [tuple(t for t in row if t != pad) for row in self.rollout["queries"].tolist()]


def trl_iterations(
    folders: Folders,
    tokenizer: Any,
    prompts: Rows,
    responses: Sequence[Rows],
    orders: Sequence[Sequence[int]],
    **config: Any,
) -> list[Iteration]:
    """Run PPOTrainer, one iteration of B prompts per set of B responses.

    Args:
        folders: the models to start from; they are loaded in float64.
        tokenizer: pads on the left.
        prompts: B or a multiple, which TRL shuffles, pass after pass.
        responses: of each iteration, B rows of tokens to be sampled, all of the same length; what
            stands behind an end token is never reached.
        orders: a permutation of the rows for every epoch of every iteration.
        config: arguments of PPOConfig beside those that switch off saving and reports.
    """
    watch, size = _Watch(responses), len(responses[0])
    trainer = PPOTrainer(
        args=PPOConfig(
            per_device_train_batch_size=size // config.get("gradient_accumulation_steps", 1),
            total_episodes=size * len(responses), response_length=len(responses[0][0]),
            bf16=False, gradient_checkpointing=False, use_cpu=True, num_sample_generations=0,
            report_to="none", save_strategy="no", disable_tqdm=True, **config,
        ),
        processing_class=tokenizer,
        model=load_causal(folders.policy).double(),
        ref_model=load_causal(folders.reference).double(),
        reward_model=load_scorer(folders.reward_model).double(),
        value_model=load_scorer(folders.critic).double(),
        train_dataset=Dataset.from_dict({"input_ids": [list(prompt) for prompt in prompts]}),
        eval_dataset=None,
        callbacks=[watch],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    shuffles = iter(orders)
    with (
        watch.on(trainer),
        mock.patch.object(np.random, "permutation", lambda n: np.array(next(shuffles))),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        trainer.train()
    return watch.iterations


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Loads the dice of `generate`, and keeps what the local variables of `train` hold."""

    def __init__(self, responses: Sequence[Rows]) -> None:
        self.responses = responses
        self.iterations: list[Iteration] = []

    @contextlib.contextmanager
    def on(self, trainer: Any) -> Iterator[None]:
        """Look at every generation, every backward pass and every record."""
        generate, backward = ppo_trainer.batch_generation, trainer.accelerator.backward
        trainer.log = lambda metrics: self.iterations[-1].metrics.update(metrics)

        def in_float64(model: Any, queries: Tensor, size: int, pad: int, config: Any) -> Any:
            with _loaded(self.responses[len(self.iterations)]):
                tokens, logits = generate(model, queries, size, pad, config)
            said = ppo_trainer.selective_log_softmax(logits, tokens[:, queries.shape[1] :])
            self.iterations.append(Iteration(generated=said))
            exact = ppo_trainer.forward(model, tokens, pad).logits[:, queries.shape[1] - 1 : -1]
            return tokens, exact / config.temperature

        def look(loss: Tensor, **options: Any) -> None:
            seen = sys._getframe(1).f_locals
            if not self.iterations[-1].steps:
                self.iterations[-1].rollout = {name: seen[name].clone() for name in ROLLOUT}
            step = {name: seen[name].detach().clone() for name in STEP}
            step["rows"] = torch.as_tensor(seen["micro_batch_inds"])
            self.iterations[-1].steps.append(step)
            backward(loss, **options)

        with (
            mock.patch.object(ppo_trainer, "batch_generation", torch.no_grad()(in_float64)),
            mock.patch.object(trainer.accelerator, "backward", look),
        ):
            yield

    def on_step_end(self, *_: Any, model: Any, **__: Any) -> None:
        found = self.iterations[-1]
        for weights, part in ((found.policy, model.policy), (found.critic, model.value_model)):
            weights |= {name: value.detach().clone() for name, value in part.named_parameters()}


@contextlib.contextmanager
def _loaded(rows: Rows) -> Iterator[None]:
    """Let the dice of `generate` fall so that the responses are these rows."""
    columns = iter(torch.tensor(rows).T)
    with mock.patch.object(torch, "multinomial", lambda p, num_samples: next(columns)[:, None]):
        yield
