"""Small things to test with: a rollout of random numbers, tiny models, a tiny task, a tiny run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from pydantic import BaseModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from workbench.loading import small_gpt2
from workbench.models import Policy, Scorer
from workbench.recipe import Recipe
from workbench.recipes.vanilla import VANILLA
from workbench.settings import PpoSettings
from workbench.stages.prepare import Prepared
from workbench.tasks.base import Demonstration, PreferencePair, Preferences, Respond, Task, Tokens
from workbench.training import Run
from workbench.types import Draft, Evaluation, Rollout

PAD, EOS, VOCABULARY, CONTEXT = 0, 1, 12, 24
LENGTHS = (5, 3, 1, 4)
"""Response lengths of the default rollout: full, padded, a single token."""


def table(*rows: Sequence[float]) -> Tensor:
    """Return numbers to compare exactly, [B, T]: one row a response."""
    return torch.tensor(rows, dtype=torch.float64)


def row(*values: float) -> Tensor:
    """Return numbers to compare exactly, [1, T]: those of one response."""
    return table(values)


def make_rollout(
    lengths: Sequence[int] = LENGTHS,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    **given: Tensor,
) -> Rollout:
    """Draw a rollout of random numbers with 0 outside the mask; `given` replaces whole tensors."""
    random = torch.Generator().manual_seed(seed)
    rows, cap = len(lengths), max(lengths)
    prompt_length = torch.tensor([2 + row % 3 for row in range(rows)])
    mask = torch.arange(cap) < torch.tensor(lengths)[:, None]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

    def inside() -> Tensor:
        return torch.where(mask, normal(rows, cap), 0.0)

    old = -inside().abs() - 0.1 * mask
    drawn = {
        "tokens": torch.randint(2, VOCABULARY, (rows, 4 + cap), generator=random),
        "prompt_length": prompt_length,
        "mask": mask,
        "log_prob": old,
        "ref_log_prob": old + 0.3 * inside(),
        "value": inside(),
        "score": 2 * normal(rows) + 1,
        "is_truncated": torch.tensor(lengths) == cap,
        "reward": inside(),
        "advantage": inside(),
        "returns": inside(),
        "text_length": torch.tensor([max(1, length - row % 2) for row, length in enumerate(lengths)]),
        "group": torch.arange(rows) // 2,
        "behaviour_log_prob": old + 0.2 * inside(),
        "entropy": inside().abs(),
        "ref_kl": inside().abs(),
        "end_value": normal(rows),
        "greedy_score": normal(rows) + 1,
        "reference_score": normal(rows) + 1,
    }
    return Rollout(**(drawn | given))


def make_evaluation(rollout: Rollout, *, seed: int = 1) -> Evaluation:
    """Draw what models a little away from those of the rollout would say of it."""
    random = torch.Generator().manual_seed(seed)
    dtype = rollout.value.dtype

    def inside(scale: float) -> Tensor:
        drawn = torch.randn(rollout.mask.shape, generator=random, dtype=torch.float64).to(dtype)
        return torch.where(rollout.mask, scale * drawn, 0.0)

    drawn = {
        "log_prob": rollout.log_prob + inside(0.4),
        "value": rollout.value + inside(0.5),
        "entropy": inside(1.0).abs(),
        "pretraining_loss": torch.tensor(2.5, dtype=dtype),
        "behaviour_log_prob": rollout.behaviour_log_prob + inside(0.4),
        "ref_kl": inside(1.0).abs(),
        "end_value": rollout.end_value
        + 0.5 * torch.randn(rollout.group.shape, generator=random, dtype=torch.float64).to(dtype),
    }
    return Evaluation(**drawn)


def make_draft(rollout: Rollout, *, seed: int = 2) -> tuple[Tensor, Draft]:
    """Draw logits [N, V] and what is known at N states: one per response, at different steps."""
    random = torch.Generator().manual_seed(seed)
    rows, cap = rollout.mask.shape
    step = rollout.mask.sum(1) - 1
    history = torch.randint(2, VOCABULARY, (rows, cap), generator=random)
    history = torch.where(torch.arange(cap) < step[:, None], history, -1)

    def logits() -> Tensor:
        return 2 * torch.randn((rows, VOCABULARY), generator=random, dtype=torch.float64)

    dtype = rollout.value.dtype
    return logits().to(dtype), Draft(step, history, logits().to(dtype), torch.tensor(EOS))


def map_tensors(data: Any, change: Any) -> Any:
    """Return the same dataclass with `change(name, tensor)` in place of each tensor."""
    return replace(data, **{f.name: change(f.name, getattr(data, f.name)) for f in fields(data)})


def tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer of VOCABULARY words: pad, end, and w2, w3, …"""
    words = ["<pad>", "<eos>", *(f"w{index}" for index in range(2, VOCABULARY))]
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="w2"))
    inner.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="w2"
    )


def tiny_gpt2(seed: int = 0, vocabulary: int = VOCABULARY) -> PreTrainedModel:
    """Make a GPT-2 of two blocks, with logits far enough apart to tell tokens from each other."""
    model = small_gpt2(
        vocabulary=vocabulary, context=CONTEXT, width=16, layers=2, heads=2, pad=PAD, eos=EOS, seed=seed
    )  # fmt: skip
    return _sharpened(model, seed)


def tiny_llama(seed: int = 0) -> PreTrainedModel:
    """Make a Llama of two blocks with grouped key-value heads."""
    return tiny_model("llama", seed)


def tiny_model(kind: str, seed: int = 0, **options: Any) -> PreTrainedModel:
    """Make a language model of two blocks, of any kind that transformers has, with its own options."""
    config = AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CONTEXT,
        pad_token_id=PAD, bos_token_id=EOS, eos_token_id=EOS, **options,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _sharpened(AutoModelForCausalLM.from_config(config), seed)


WINDOW = 4
"""Tokens that the blocks with a sliding window see."""

LINEAR_KEYS = {"linear_num_key_heads": 2, "linear_key_head_dim": 4}
LINEAR_VALUES = {"linear_num_value_heads": 2, "linear_value_head_dim": 4}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 4},
    "mistral": {"sliding_window": WINDOW},
    "gemma2": {"sliding_window": WINDOW, "head_dim": 4},
    "gemma3_text": {"sliding_window": WINDOW, "head_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW, "num_heads": 4},
    "mpt": {"d_model": 16, "n_heads": 4, "n_layers": 2, "max_seq_len": CONTEXT},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1, "mamba_dt_rank": 4},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"], "head_dim": 4}
    | LINEAR_KEYS
    | LINEAR_VALUES,
}
"""Kinds of model that see positions, windows, columns or a running state, with their options."""


def family(name: str) -> PreTrainedModel:
    """Make the tiny model of a family."""
    return tiny_model(name, **FAMILIES[name])


def tiny_gemma3(seed: int = 0) -> PreTrainedModel:
    """Make a Gemma 3 that sees as well: the sizes of its language model are one level down."""
    config = Gemma3Config(
        text_config={
            "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": PAD,
            "bos_token_id": EOS, "eos_token_id": EOS, "max_position_embeddings": CONTEXT,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 16,
        },
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _sharpened(Gemma3ForConditionalGeneration(config), seed)


def _sharpened(model: Any, seed: int) -> Any:
    """Add noise to all weights, as fresh ones give nearly the same logits everywhere."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return model.eval()


def as_policy(model: PreTrainedModel) -> Policy:
    """Wrap a causal language model."""
    policy = Policy()
    policy.model = model
    return policy


def save_model(model: PreTrainedModel, folder: Path) -> Path:
    """Save a model with the tiny tokenizer."""
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def make_prepared(home: Path) -> Prepared:
    """Save a random base, SFT and reward model, all different."""
    base = save_model(tiny_gpt2(1), home / "base")
    sft = save_model(tiny_gpt2(2), home / "sft")
    scorer = Scorer()
    scorer.load_trunk(sft, head_std=0.5, seed=3)
    reward_model = save_model(_sharpened(scorer.model, 4), home / "reward_model")
    return Prepared(base, sft, reward_model, "tiny", {})


class TinySettings(BaseModel):
    """What decides the tiny task's data."""

    prompts: int = 20
    has_gold: bool = True


class TinyTask(Task):
    """Prompts are two to four words; the judge counts w2, which no reward model knows."""

    name = "tiny"

    def __init__(self, **settings: Any) -> None:
        self.settings: TinySettings = TinySettings(**settings)
        self.tokenizer = tokenizer()

    def pretraining_texts(self) -> list[Tokens]:
        return [*self._texts(8, seed=1), *self._texts(2, seed=2)]

    def held_out_texts(self) -> list[Tokens]:
        return self._texts(6, seed=3)

    def demonstrations(self) -> list[Demonstration]:
        return [Demonstration(text[:3], (*text[3:], EOS)) for text in self._texts(8, seed=4)]

    def train_prompts(self) -> list[Tokens]:
        return [text[: 2 + i % 3] for i, text in enumerate(self._texts(self.settings.prompts, seed=5))]

    def eval_prompts(self) -> list[Tokens]:
        return [text[: 2 + i % 3] for i, text in enumerate(self._texts(8, seed=6))]

    def preferences(self, respond: Respond) -> Preferences:
        prompts = self.train_prompts()[:8]
        drawn = [respond(prompts, seed) for seed in (0, 1)]
        pairs = [PreferencePair(*triple) for triple in zip(prompts, *drawn, strict=True)]
        return Preferences(pairs[:6], pairs[6:])

    def gold(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> list[float] | None:
        if not self.settings.has_gold:
            return None
        return [response.count(2) / len(response) for response in responses]

    def prompt_class(self, prompt: Tokens) -> str:
        return "harmful" if prompt[0] % 2 else "other"

    def _texts(self, count: int, seed: int) -> list[Tokens]:
        random = torch.Generator().manual_seed(seed)
        drawn = torch.randint(2, VOCABULARY, (count, 7), generator=random)
        return [tuple(row) for row in drawn.tolist()]


SETTINGS = PpoSettings(
    iterations=4, rollout_size=8, minibatch_size=4, epochs=2, policy_learning_rate=1e-3,
    critic_learning_rate=2e-3, max_response_tokens=5, eval_every=2, eval_prompts=6, checkpoint_every=1,
)  # fmt: skip
"""Settings of a PPO run of well under a second."""


def make_run(
    prepared: Prepared,
    folder: Path,
    recipe: Recipe = VANILLA,
    *,
    settings: PpoSettings = SETTINGS,
    task: Task | None = None,
    seed: int = 0,
) -> Run:
    """Make a tiny PPO run."""
    accelerator = Accelerator(cpu=True)
    return Run(task or TinyTask(), recipe, settings, prepared, seed, folder, accelerator)


@dataclass
class ListTracker:
    """Keeps records in a list, the first of every step."""

    records: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def log(self, records: Sequence[tuple[int, dict[str, float]]]) -> None:
        last = max((step for step, _ in self.records), default=-1)
        self.records += [record for record in records if record[0] > last]
