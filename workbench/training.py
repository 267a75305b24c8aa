"""One run: PPO with one recipe and one seed, evaluated, monitored, checkpointed, taken up again."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator

from workbench.checkpoint import Progress, Record, load_checkpoint, save_checkpoint
from workbench.collapse import DEFAULT_RULE, Collapse, find_collapse, has_diverged
from workbench.decoder import require_faithful
from workbench.evaluation import Evaluator, mean
from workbench.glossary import last_tenth
from workbench.models import Models, OwnReward, Policy, Scorer
from workbench.monitors import finite, iteration_metrics
from workbench.optimiser import make_optimiser
from workbench.parallel import collect, is_main, require_same
from workbench.progress import track
from workbench.recipe import Recipe
from workbench.seeding import generator
from workbench.settings import CollapseRule, PpoSettings, PruneSettings
from workbench.stages.ppo import Ppo
from workbench.stages.prepare import Prepared
from workbench.tasks.base import Task, Tokens


class Tracker(Protocol):
    """Where the metrics of one run go."""

    def log(self, records: Sequence[Record]) -> None:
        """Log records; those of a step that was logged before change nothing."""
        ...


class NoTracker:
    """Takes records and keeps none: of a run that is only timed, or that another process logs."""

    def log(self, records: Sequence[Record]) -> None:
        """Drop the records."""


class Pruner(Protocol):
    """Ends runs whose own records are reason enough."""

    @property
    def settings(self) -> PruneSettings:
        """What decides when a run ends."""
        ...

    def start(self, gold_error: float | None) -> Callable[[Record], Collapse | None]:
        """Begin a run.

        Args:
            gold_error: standard error of the start's gold score; None without a judge.
        Returns:
            a function that takes the run's records in order, and returns the collapse with which the
            run ends; None if it goes on, or has ended by itself as its numbers are not finite.
        Raises:
            ValueError: if it cannot judge this run.
        """
        ...


class Interrupted(Exception):
    """The run was asked to stop; its checkpoint is written."""


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        collapse: when and why it collapsed, or None.
        final: `final/*` metrics.
        history: every record.
        samples: columns of a table of responses before and after.
        stopped_at: iterations done, where the pruner ended the run before its last; else None.
    """

    collapse: Collapse | None
    final: dict[str, float]
    history: list[Record]
    samples: dict[str, list[Any]]
    stopped_at: int | None = None


@dataclass
class Run:
    """PPO on one task with one recipe and one seed.

    Attributes:
        task: prompts, held-out texts and perhaps a gold judge.
        recipe: the tricks.
        settings: what PPO does besides its tricks.
        prepared: models to start from.
        seed: decides prompts, samples and minibatches; the same for every arm.
        folder: checkpoints go here.
        accelerator: device and precision.
        collapse_rule: when the run counts as collapsed.
        pruner: ends it once it has collapsed; without one it goes on to its last iteration.
    """

    task: Task
    recipe: Recipe
    settings: PpoSettings
    prepared: Prepared
    seed: int
    folder: Path
    accelerator: Accelerator
    collapse_rule: CollapseRule = DEFAULT_RULE
    pruner: Pruner | None = None
    history: list[Record] = field(default_factory=list)

    def train(self, tracker: Tracker, is_interrupted: Callable[[], bool] = lambda: False) -> Result:
        """Train to the end, from the last checkpoint if there is one.

        Args:
            tracker: gets every record as soon as it is there; after a checkpoint those before it again.
            is_interrupted: asked after every iteration; True on any process saves a checkpoint and
                raises on all.
        Raises:
            Interrupted: if asked to stop.
            ValueError: if the reward model returns NaN, a prompt does not fit the model, or the
                pruner cannot judge the run.
        """
        settings = self.settings
        self._require_room()
        progress = self._take_up(tracker)
        prune = self.pruner.start(self.evaluator.gold_error()) if self.pruner else lambda record: None
        pruned = next(filter(None, map(prune, self.history)), None)
        last = progress.iteration if self._is_over(pruned) else settings.iterations
        span = range(progress.iteration, last)
        for k in track(span, total=len(span), title=f"{self.recipe.name}/s{self.seed}"):
            self._record(k, self._iterate(k), tracker)
            progress.iteration = k + 1
            pruned = prune(self.history[-1])
            is_over, stop = self._is_over(pruned), any(collect(is_interrupted()))
            is_due = k + 1 == settings.iterations or (k + 1) % settings.checkpoint_every == 0
            if is_main() and (stop or is_over or is_due):
                save_checkpoint(self.folder, self.ppo, progress)
            if is_over:
                break
            if stop:
                raise Interrupted(f"stopped after iteration {k + 1} of {settings.iterations}")
        is_trained = progress.iteration == settings.iterations
        if (is_trained or pruned) and self.history[-1][0] < progress.iteration:
            self._record(progress.iteration, finite(self.evaluator.metrics()), tracker)
        return self._result(None if is_trained else pruned)

    @cached_property
    def ppo(self) -> Ppo:
        """Models, recipe and optimiser, as they start."""
        vocabulary, rows = self.task.vocabulary, self.settings.micro_batch_size
        policy, reference = Policy(vocabulary, rows), Policy(vocabulary, rows)
        if self.prepared.judge:
            with self.accelerator.autocast():
                self.task.seat_judge(self.prepared.judge, self.accelerator.device, rows)
        own_reward = self.task.own_reward
        critic, reward_model = Scorer(rows), OwnReward(own_reward) if own_reward else Scorer(rows)
        reference.load_weights(self.prepared.sft)
        reward_model.load_weights(self.prepared.reward_model)
        models = Models(policy, critic, reference, reward_model)
        recipe = self.recipe.start()
        device = self.accelerator.device
        recipe.initialise(models, self.prepared, self.seed)
        for model in (policy, critic, reference, reward_model):
            model.to(device)
        require_faithful(policy)
        for frozen in (reference, reward_model):
            frozen.requires_grad_(False)
        models.slow_copies(recipe.needs)
        tokenizer = self.task.tokenizer
        return Ppo(
            models=models,
            recipe=recipe.to(device),
            settings=self.settings,
            optimiser=self.accelerator.prepare(make_optimiser(models, self.settings, recipe)),
            accelerator=self.accelerator,
            task=self.task,
            pretraining=self.task.pretraining_texts() if "pretraining_loss" in recipe.needs else (),
            eos=int(tokenizer.eos_token_id),
            pad=int(tokenizer.pad_token_id),
            seed=self.seed,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that decides the run's numbers."""
        parts = [
            self.recipe.fingerprint(),
            self.prepared.fingerprint,
            self.seed,
            self.task.fingerprint(),
        ]
        parts.append(self.settings.model_dump_json(exclude=PpoSettings.IDLE))
        rule = self.collapse_rule.model_dump(exclude_defaults=True)
        prune = self.pruner.settings.model_dump() if self.pruner else {}
        parts += [part for part in (rule, prune) if part]  # runs from before there were these go on
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @cached_property
    def evaluator(self) -> Evaluator:
        """Held-out prompts and texts, and what the SFT policy makes of them."""
        return Evaluator(self.task, self.ppo, self.settings.eval_prompts)

    def prompts(self, k: int) -> list[Tokens]:
        """Return the prompts of iteration k: pass after pass over all of them, each in a new order."""
        every, size = self._train_prompts, self.settings.rollout_size
        first = k * size
        order: list[int] = []
        for epoch in range(first // len(every), (first + size - 1) // len(every) + 1):
            order += torch.randperm(
                len(every), generator=generator(self.seed, epoch, "prompts")
            ).tolist()
        offset = first % len(every)
        return [every[i] for i in order[offset : offset + size]]

    @cached_property
    def _train_prompts(self) -> list[Tokens]:
        return self.task.train_prompts()

    def _take_up(self, tracker: Tracker) -> Progress:
        """Go back to the last checkpoint, if there is one; every process has to see the same."""
        progress = load_checkpoint(self.folder, self.ppo, self.fingerprint)
        progress = progress or Progress(self.fingerprint, 0, [])
        require_same(progress.iteration, f"the checkpoint that they see in {self.folder}")
        self.history = progress.history  # one list: what is recorded is in the next checkpoint
        tracker.log(self.history)
        return progress

    def _record(self, step: int, metrics: dict[str, float], tracker: Tracker) -> None:
        self.history.append((step, metrics))
        tracker.log(self.history[-1:])

    def _is_over(self, pruned: Collapse | None) -> bool:
        """Say whether the run ends before its last iteration: pruned, or its numbers not finite."""
        return bool(pruned or (self.history and has_diverged(self.history[-1][1])))

    def _iterate(self, k: int) -> dict[str, float]:
        """Evaluate if it is time, then do iteration k; return its record."""
        is_evaluated = k % self.settings.eval_every == 0
        metrics = self.evaluator.metrics() if is_evaluated else {}
        watch = self.ppo.stopwatch
        watch.lap()
        with watch("iteration"):
            experiences = self.ppo.iteration(k, self.prompts(k))
            prompts = [p for experience in experiences for p in experience.samples.prompt_rows()]
            responses = [r for experience in experiences for r in experience.samples.responses()]
            with self.accelerator.autocast():
                gold = self.task.gold(prompts, responses)
            metrics |= iteration_metrics(experiences, gold)
        if math.isnan(metrics["reward/proxy"]) and math.isfinite(metrics["policy/kl_to_sft"]):
            raise ValueError(
                f"the reward model in {self.prepared.reward_model} returned NaN at iteration {k}"
            )
        if "reward/gold" in metrics:
            metrics["reward/gap"] = self.evaluator.gap(metrics["reward/proxy"], metrics["reward/gold"])
        for name, group in zip(("policy", "critic"), self.ppo.optimiser.param_groups, strict=True):
            metrics[f"ppo/{name}_learning_rate"] = group["lr"]
        return finite(metrics | watch.lap())

    def _require_room(self) -> None:
        """Refuse prompts that leave no room for a response of full length in the model's context."""
        config = self.ppo.models.policy.config
        room = getattr(config, "max_position_embeddings", math.inf)
        longest = max(map(len, [*self._train_prompts, *self.evaluator.prompts]))
        if longest + self.settings.max_response_tokens > room:
            raise ValueError(
                f"a prompt of {longest} tokens and a response of {self.settings.max_response_tokens} "
                f"exceed the model's context of {room}; lower max_response_tokens or the prompts' cap"
            )

    def _result(self, pruned: Collapse | None) -> Result:
        """Sum up the run; what a pruner saw counts where the run's own rule saw nothing."""
        error, reached = self.evaluator.gold_error(), self.history[-1][0]
        collapse = find_collapse(self.history, error, self.collapse_rule) or pruned
        final = final_metrics(self.history) | {"final/collapsed": float(collapse is not None)}
        samples = self.evaluator.samples(reached)
        return Result(collapse, final, self.history, samples, reached if pruned else None)


def final_metrics(history: Sequence[Record]) -> dict[str, float]:
    """Summarise a run: means over the last tenth of its evaluations or iterations, and its best gold."""
    final: dict[str, float] = {}
    sources = {name: f"eval/{name}" for name in ("gold", "proxy", "win_rate", "held_out_perplexity")}
    sources |= {name: f"policy/{name}" for name in ("kl_to_sft", "response_length", "perplexity")}
    for name, source in sources.items():
        values = [metrics[source] for _, metrics in history if source in metrics]
        if values:
            final[f"final/{name}"] = mean(values[last_tenth(len(values))])
    gold = [metrics["eval/gold"] for _, metrics in history if "eval/gold" in metrics]
    return final | ({"final/best_gold": max(gold)} if gold else {})
