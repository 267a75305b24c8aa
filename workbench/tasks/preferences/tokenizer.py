"""The tokenizer of the preferences task: a given one, or a byte-level BPE trained on its text."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.names import is_local, no_such, unknown
from workbench.tasks.preferences.sources import first_sentence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD, EOS = "<pad>", "<eos>"


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> "PreTrainedTokenizerBase":
    """Train a byte-level BPE; the same texts give the same tokenizer, in whatever order.

    Every byte is a token, so no text is out of vocabulary.

    Args:
        texts: what to learn merges from.
        vocabulary_size: tokens in all; fewer if the texts have too few distinct words.
    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.2.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def load_given_tokenizer(name: str, end_token: str | None = None) -> "PreTrainedTokenizerBase":
    """Load a tokenizer and make sure that it can end a response and fill a batch.

    An end token takes the place of the tokenizer's own everywhere.

    A given model's embedding has no room for a new token, so a tokenizer without a padding token
    gets one that it has: the unknown token, else one named like padding, else the end-of-sequence
    token. Even the last is sound here, because every stage counts lengths and never looks for padding.

    Raises:
        FileNotFoundError: if the folder is not there, with the nearest one that is.
        ValueError: if there is no tokenizer in it, or the tokenizer has no end-of-sequence token, or
            not the one that is asked for.
    """
    from transformers import AutoTokenizer

    path = Path(name).expanduser()
    if is_local(name) and not path.is_dir():
        raise FileNotFoundError(no_such("tokenizer folder", name))
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path if path.is_dir() else name, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{name} has no tokenizer to load: {first_sentence(error)}") from None
    if not tokenizer("text", add_special_tokens=False).input_ids:  # a folder with a model only
        raise ValueError(f"{name} has no tokenizer to load: its vocabulary is empty")
    if end_token:
        if end_token not in tokenizer.get_vocab():
            known = map(str, tokenizer.added_tokens_decoder.values())
            raise ValueError(unknown("end token", end_token, known, where=f"the tokenizer {name}"))
        tokenizer.eos_token = end_token
    if tokenizer.eos_token_id is None:
        raise ValueError(f"the tokenizer {name} has no end-of-sequence token to end responses with")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _padding(tokenizer)
    return tokenizer


def _padding(tokenizer: "PreTrainedTokenizerBase") -> str:
    added = sorted(str(token) for token in tokenizer.added_tokens_decoder.values())
    named = [token for token in added if "pad" in token.lower()]
    candidates = [tokenizer.unk_token, *named]
    usable = (str(token) for token in candidates if token and token != tokenizer.eos_token)
    return next(usable, str(tokenizer.eos_token))
