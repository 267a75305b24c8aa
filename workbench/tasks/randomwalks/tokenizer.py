"""The tokenizer of the random walks: a letter per node."""

from string import ascii_lowercase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPECIAL = ("<pad>", "<eos>")
PAD, EOS = range(len(SPECIAL))
FIRST_NODE = len(SPECIAL)
"""Token of node 0; the others follow."""


def build_tokenizer(nodes: int) -> "PreTrainedTokenizerBase":
    """Build a fast tokenizer of letters: node 0 is `a`, and a walk reads `kfda`."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    symbols = (*SPECIAL, *ascii_lowercase[:nodes])
    tokenizer = Tokenizer(WordLevel({symbol: token for token, symbol in enumerate(symbols)}))
    tokenizer.pre_tokenizer = Split(Regex("."), "isolated")
    tokenizer.decoder = Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[PAD],
        eos_token=SPECIAL[EOS],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
