"""Make, load and check models and tokenizers: Hugging Face folders, safetensors only, no remote code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
)
from transformers.utils import logging as transformers_logging

from workbench.names import is_local, no_such

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


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
    """Load a causal language model in evaluation mode, so that dropout is off in PPO.

    Raises:
        ValueError: if the folder lacks some of its weights, as a reward model's lacks the output layer.
    """
    model, missing = _load(AutoModelForCausalLM, folder)
    _require_whole(folder, missing, "a causal language model")
    return model


def load_scorer(folder: Path | str) -> "PreTrainedModel":
    """Load a sequence-classification model with one output, in evaluation mode.

    Raises:
        ValueError: if the architecture has no linear `score` head, or one with several outputs, or the
            folder lacks some of the weights, as a language model's lacks the head.
    """
    model, missing = _scorer(folder)
    _require_whole(folder, missing, "a sequence-classification model with one output")
    return model


def scorer_on(folder: Path | str) -> "PreTrainedModel":
    """Put a `score` head, whose weights are still to be set, on the trunk of a language model."""
    return _scorer(folder)[0]


def load_config(folder: Path | str) -> "PreTrainedConfig":
    """Load a model's configuration; no remote code is run."""
    found = _require_model(folder)
    with _one_sentence(folder):
        return AutoConfig.from_pretrained(found, trust_remote_code=False)


def text_config(config: "PreTrainedConfig") -> "PreTrainedConfig":
    """Return the part of a model's configuration that has vocabulary, width, depth and context.

    It is the whole, unless the model sees or hears as well.
    """
    return config.get_text_config()


def load_vocabulary(folder: Path | str) -> dict[str, int]:
    """Return the ids of the tokens of the tokenizer beside a model; none if there is no tokenizer."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(require_folder(folder), trust_remote_code=False)
    except (OSError, ValueError, KeyError):
        return {}
    if not tokenizer("text", add_special_tokens=False).input_ids:  # made of a model's name alone
        return {}
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return vocabulary


def require_folder(path: Path | str) -> str:
    """Refuse a path that is not there; anything that does not look like one may be a hub name.

    Returns:
        the path to load from, with `~` replaced.
    Raises:
        FileNotFoundError: in one sentence, with the nearest name that is there.
    """
    if not isinstance(path, Path) and not is_local(path):
        return path
    if not Path(path).expanduser().is_dir():
        raise FileNotFoundError(no_such("model folder", str(path)))
    return str(Path(path).expanduser())


def _require_model(path: Path | str) -> str:
    """Refuse, besides what `require_folder` does, a folder without a model, or with pickled weights.

    Returns:
        the path to load from.
    Raises:
        FileNotFoundError: in one sentence.
    """
    found = require_folder(path)
    folder = Path(found)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{path} is no model folder: it has no config.json")
    if any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(
            f"the weights in {path} are pickled (.bin), which could run code and are never loaded; if "
            "you trust them, load them with transformers elsewhere and save_pretrained() them anew"
        )
    return found


def require_scorer(folder: Path | str) -> None:
    """Refuse a model of a family that scores no texts in transformers.

    Raises:
        ValueError: in one sentence.
    """
    config = load_config(folder)
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise ValueError(
            f"the model in {folder} can start no reward model and no critic: transformers has no "
            f"sequence classification for the family {config.model_type}; take a model of another "
            "family, or a given reward model and a recipe without a critic"
        )


def _scorer(folder: Path | str) -> tuple["PreTrainedModel", set[str]]:
    require_scorer(folder)
    try:
        model, missing = _load(AutoModelForSequenceClassification, folder, num_labels=1)
    except RuntimeError as error:
        if "mismatched_sizes" not in str(error):
            raise
        raise ValueError(
            f"the model in {folder} does not give one score per token; it needs num_labels 1"
        ) from error
    if not isinstance(getattr(model, "score", None), nn.Linear):
        raise ValueError(f"the model in {folder} has no linear `score` head to score tokens with")
    return model, missing


def _require_whole(folder: Path | str, missing: set[str], kind: str) -> None:
    """Refuse a model of which some weights are not in its files: they would be random numbers."""
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise ValueError(
            f"the model in {folder} is not {kind}, or not all of one: it lacks {names};"
            " name another folder"
        )


@contextmanager
def _one_sentence(folder: Path | str) -> Iterator[None]:
    """Turn a library's page about a folder that cannot be loaded into its first line."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise FileNotFoundError(f"cannot load a model from {folder}: {first}") from error
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise ValueError(
            f"the model in {folder} comes with code of its own, which is never run here;"
            " name a model of an architecture that transformers has"
        ) from error


def _load(kind: Any, folder: Path | str, **options: Any) -> tuple["PreTrainedModel", set[str]]:
    """Load a model in evaluation mode; return the names of weights that its files lack as well."""
    found = _require_model(folder)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with _one_sentence(folder):
            model, told = kind.from_pretrained(
                found, use_safetensors=True, trust_remote_code=False, dtype=torch.float32,
                output_loading_info=True, **options,
            )  # fmt: skip
            return model.eval(), set(told["missing_keys"])
    finally:
        transformers_logging.set_verbosity(verbosity)
