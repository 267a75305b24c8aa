"""The word-level tokenizer of the dialogue language."""

from typing import TYPE_CHECKING

from workbench.tasks.dialogue.vocabulary import BOS, EOS, PAD, SEP, UNK, vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def build_tokenizer() -> "PreTrainedTokenizerBase":
    """Build a fast tokenizer whose tokens are words set apart by spaces.

    `<sep>` stands between a prompt and its response, so that the boundary is plain in the ids.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    ids = {word: index for index, word in enumerate(vocabulary())}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNK))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        sep_token=SEP,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
