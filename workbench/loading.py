"""Make, load and check models and tokenizers: Hugging Face folders, safetensors only, no remote code."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
)
from transformers.utils import logging as transformers_logging

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def small_gpt2(
    *,
    vocabulary: int,
    context: int,
    width: int,
    layers: int,
    heads: int,
    pad: int,
    eos: int,
    seed: int,
) -> "PreTrainedModel":
    """Make a GPT-2 with fresh weights and no dropout, which would move π_old away from π."""
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        pad_token_id=pad,
        bos_token_id=eos,
        eos_token_id=eos,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        activation_function="gelu_pytorch_tanh",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


def load_causal(folder: Path | str) -> "PreTrainedModel":
    """Load a causal language model in evaluation mode, so that dropout is off in PPO."""
    return _load(AutoModelForCausalLM, folder)


def load_scorer(folder: Path | str) -> "PreTrainedModel":
    """Load a sequence-classification model with one output, in evaluation mode.

    Raises:
        ValueError: if the architecture has no linear `score` head, or one with several outputs.
    """
    try:
        model = _load(AutoModelForSequenceClassification, folder, num_labels=1)
    except RuntimeError as error:
        if "mismatched_sizes" not in str(error):
            raise
        raise ValueError(
            f"the model in {folder} does not give one score per token; it needs num_labels 1"
        ) from error
    if not isinstance(getattr(model, "score", None), nn.Linear):
        raise ValueError(f"the model in {folder} has no linear `score` head to score tokens with")
    return model


def load_config(folder: Path | str) -> "PreTrainedConfig":
    """Load a model's configuration; no remote code is run."""
    require_folder(folder)
    return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def load_tokenizer(folder: Path | str) -> "PreTrainedTokenizerBase":
    """Load a tokenizer from a Hugging Face folder; no remote code is run."""
    require_folder(folder)
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def require_folder(path: Path | str) -> None:
    """Refuse a path that looks local and is not there; anything else may be a hub name.

    Raises:
        FileNotFoundError: in one sentence.
    """
    text = str(path)
    looks_local = isinstance(path, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1
    if looks_local and not Path(path).expanduser().is_dir():
        raise FileNotFoundError(f"there is no model folder at {path}")


def _load(kind: Any, folder: Path | str, **options: Any) -> "PreTrainedModel":
    require_folder(folder)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        return kind.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, **options
        ).eval()
    except OSError as error:
        first = str(error).splitlines()[0]
        raise FileNotFoundError(f"cannot load a model from {folder}: {first}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
