"""Prepare what all arms share: pre-trained, SFT and reward model, cached by content hash."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from workbench.decoder import require_faithful
from workbench.loading import (
    load_causal,
    load_config,
    load_scorer,
    require_folder,
    small_gpt2,
    text_config,
)
from workbench.models import Policy, Scorer
from workbench.sampling import sample, uniform
from workbench.seeding import derive
from workbench.settings import ModelSettings, PrepareSettings
from workbench.stages.compatibility import require_fit
from workbench.stages.model_cache import ModelCache, facts_of, hash_of, hash_of_model
from workbench.stages.pretrain import held_out_perplexity, pretrain
from workbench.stages.reward_model import RewardModelTraining, measure, train_reward_model
from workbench.stages.sft import fine_tune
from workbench.stages.stage_facts import loss_facts, quality_facts
from workbench.tasks.base import Preferences, Task, Tokens
from workbench.types import Sampling

SAMPLE_BATCH = 256


@dataclass(frozen=True)
class Prepared:
    """Folders of the models that all arms share, in Hugging Face format, and what is known of them.

    Attributes:
        base: pre-trained language model.
        sft: supervised fine-tuned model: start of the policy, and the reference.
        reward_model: sequence-classification model with one output.
        fingerprint: hash of all that went in.
        facts: losses, held-out perplexities, the reward model's accuracy, in training and at its end,
            and a histogram of its margins; the same of the judge.
        judge: sequence-classification model that judges, where the task's judge is learnt.
        data: fingerprint of the task's data; None where it was not kept.
    """

    base: Path
    sft: Path
    reward_model: Path
    fingerprint: str
    facts: dict[str, Any]
    judge: Path | None = None
    data: str | None = None

    @property
    def folders(self) -> dict[str, Path]:
        """The models by name."""
        own = {"base": self.base, "sft": self.sft, "reward_model": self.reward_model}
        return own | ({"judge": self.judge} if self.judge else {})


def prepare(
    task: Task,
    settings: PrepareSettings,
    home: Path,
    accelerator: Accelerator,
    response_cap: int,
    rows_at_once: int | None = None,
) -> Prepared:
    """Run the three stages, or take from the cache what was made before; a learnt judge's as well.

    Of several processes the main one does the work, and the others wait for the folders to appear;
    waiting for the process itself would have a time limit.

    Args:
        task: where texts, demonstrations and preferences come from.
        settings: models and training.
        home: folder of the cache.
        accelerator: device and precision.
        response_cap: cap on responses sampled for preference pairs.
        rows_at_once: sequences that a model reads at a time; None for all of a batch.
    Raises:
        FileNotFoundError: if a given model folder is not there.
        ValueError: if a stage has no data.
    """
    place = home / "prepared", accelerator, response_cap, rows_at_once
    stages = _Workshop(task, settings, *place).stages()
    folders, judge = dict(stages), None
    if plan := task.judge_plan:
        judge = folders["judge"] = _Workshop(plan.task, plan.settings, *place).stages()["reward_model"]
    facts = {stage: facts_of(folder) for stage, folder in folders.items()}
    fingerprint = hash_of([folder.name for folder in folders.values()])
    base, sft, reward_model = stages.values()
    data = task.fingerprint()
    return Prepared(base, sft, reward_model, fingerprint, facts | {"hash": fingerprint}, judge, data)


@dataclass(frozen=True)
class _Workshop:
    task: Task
    settings: PrepareSettings
    folder: Path
    accelerator: Accelerator
    response_cap: int
    rows_at_once: int | None

    def stages(self) -> dict[str, Path]:
        """Make the models, one from the other, if they fit; return their folders by stage."""
        require_fit(self.task, self.settings, self.response_cap)
        base = self.base()
        sft = self.sft(base)
        return {"pretrain": base, "sft": sft, "reward_model": self.reward_model(sft)}

    def base(self) -> Path:
        """Pre-train from scratch, or take the given model as it is."""
        model, training = self.settings.policy, self.settings.pretrain
        if model.path:
            require_folder(model.path)
        texts = _nonempty(self.task.pretraining_texts(), "pre-training texts")
        given = hash_of_model(model.path) if model.path else model.model_dump()
        key = hash_of([given, training.model_dump(), texts, self.settings.seed])

        def make(target: Path) -> dict[str, Any]:
            policy = self._policy()
            policy.model = load_causal(model.path) if model.path else self._fresh(model)
            steps = training.steps if not model.path else 0
            losses = pretrain(
                policy, texts, training.model_copy(update={"steps": steps}),
                accelerator=self.accelerator, pad=self._pad, seed=self.settings.seed,
            )  # fmt: skip
            return self._save_policy(policy, target, losses)

        return self._cache.made("base", key, make)

    def sft(self, base: Path) -> Path:
        """Fine-tune the base model on the task's demonstrations."""
        demonstrations = _nonempty(self.task.demonstrations(), "demonstrations")
        content = [(d.prompt, d.response) for d in demonstrations]
        key = hash_of([base.name, self.settings.sft.model_dump(), content, self.settings.seed])

        def make(target: Path) -> dict[str, Any]:
            policy = self._policy()
            policy.load_weights(base)
            losses = fine_tune(
                policy, demonstrations, self.settings.sft,
                accelerator=self.accelerator, pad=self._pad, seed=self.settings.seed,
            )  # fmt: skip
            return self._save_policy(policy, target, losses)

        return self._cache.made("sft", key, make)

    def reward_model(self, sft: Path) -> Path:
        """Train the reward model from the SFT trunk, or take the given one; measure it either way."""
        settings = self.settings.reward_model
        if settings.path:
            require_folder(settings.path)
        if settings.seed == "run":
            raise ValueError("each run has its own reward model: ask for that of one run")
        own = settings.model_dump(exclude=settings.unchosen())
        given = hash_of_model(settings.path) if settings.path else own
        skipped = self._skipped(settings.path) if settings.path else None
        about = self.task.fingerprint()
        parts = [sft.name, given, about, self.response_cap, self.settings.seed]
        key = hash_of([*parts, *([] if skipped is None else [skipped])])
        task = self.task if settings.seed is None else self.task.redrawn(settings.seed)
        seed = self.settings.seed if settings.seed is None else settings.seed

        def make(target: Path) -> dict[str, Any]:
            preferences = self._preferences(task, sft)
            scorer = Scorer(self.rows_at_once)
            training = RewardModelTraining([], [])
            if settings.path:
                scorer.model = load_scorer(settings.path).to(self.accelerator.device)
            else:
                std = settings.head_std
                if std is None:
                    std = (text_config(load_config(sft)).hidden_size + 1) ** -0.5
                scorer.load_trunk(sft, head_std=std, seed=derive(seed, "head"))
                training = train_reward_model(
                    scorer, preferences.train, settings, held_out=preferences.held_out,
                    accelerator=self.accelerator, pad=self._pad, seed=seed,
                )  # fmt: skip
            scorer.model.config.score_skips = skipped
            with self.accelerator.autocast():
                quality = measure(scorer, preferences.held_out, pad=self._pad)
            scorer.model.save_pretrained(target)
            facts = loss_facts(training.losses) | quality_facts(quality, training, preferences)
            size = min(settings.batch_size, len(preferences.train))
            return facts | {"steps_per_epoch": len(preferences.train) // size}

        return self._cache.made("reward_model", key, make)

    def _skipped(self, path: str) -> int | None:
        """Return the end token where it is a given reward model's padding, which its score skips.

        Such a model's own forward reads at the last token that is not padding, so that it was trained
        to score a text without its end. One that was made here says itself what it skips.
        """
        eos, config = int(self.task.tokenizer.eos_token_id), load_config(path)
        own = eos if text_config(config).pad_token_id == eos else None
        skipped: int | None = getattr(config, "score_skips", own)
        return skipped

    @property
    def _cache(self) -> ModelCache:
        return ModelCache(self.folder, self.task.tokenizer)

    @property
    def _pad(self) -> int:
        return int(self.task.tokenizer.pad_token_id)

    def _policy(self) -> Policy:
        return Policy(self.task.vocabulary, self.rows_at_once)

    def _fresh(self, model: ModelSettings) -> Any:
        return small_gpt2(
            vocabulary=len(self.task.tokenizer), context=model.context, width=model.width,
            layers=model.layers, heads=model.heads, pad=self._pad,
            eos=int(self.task.tokenizer.eos_token_id), seed=derive(self.settings.seed, "weights"),
        )  # fmt: skip

    def _preferences(self, task: Task, sft: Path) -> Preferences:
        policy = self._policy()
        policy.load_weights(sft)
        policy.to(self.accelerator.device)
        sampling = Sampling(
            temperature=1.0, max_response_tokens=self.response_cap, buffer_size=SAMPLE_BATCH
        )
        eos = int(self.task.tokenizer.eos_token_id)

        def respond(prompts: Sequence[Tokens], seed: int) -> list[Tokens]:
            responses: list[Tokens] = []
            for first in range(0, len(prompts), SAMPLE_BATCH):
                part = prompts[first : first + SAMPLE_BATCH]
                noise = uniform(sampling, len(part), seed, first, "preferences")
                with self.accelerator.autocast():
                    drawn = sample(policy, part, sampling, eos=eos, pad=self._pad, noise=noise)
                responses += drawn.responses()
            return responses

        preferences = task.preferences(respond)
        _nonempty(preferences.train, "preference pairs to train on")
        _nonempty(preferences.held_out, "held-out preference pairs")
        return preferences

    def _save_policy(self, policy: Policy, target: Path, losses: list[float]) -> dict[str, Any]:
        policy.to(self.accelerator.device)
        require_faithful(policy)
        with self.accelerator.autocast():
            perplexity = held_out_perplexity(policy, self.task.held_out_texts(), pad=self._pad)
        policy.model.save_pretrained(target)
        return loss_facts(losses) | {"held_out_perplexity": perplexity}


def _nonempty(examples: Any, what: str) -> Any:
    if not examples:
        raise ValueError(f"the task has no {what}")
    return examples
