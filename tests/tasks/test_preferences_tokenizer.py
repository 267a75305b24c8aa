"""The preferences task's tokenizers: its own BPE, and given ones with and without a chat template."""

from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import GPT2Config, PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from tests.tasks.preference_data import (
    THINGS,
    conversation_rows,
    decoded,
    hh_rows,
    make,
    prompt_rows,
    write_jsonl,
)
from workbench.settings import ModelSettings, PrepareSettings, TrainingSettings
from workbench.stages.compatibility import require_fit
from workbench.tasks.preferences import Flaw, PreferencesSettings, PreferencesTask
from workbench.tasks.preferences.tokenizer import load_given_tokenizer, train_tokenizer

CORPUS = [text for row in prompt_rows() for text in row.values()]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def given_tokenizer(
    folder: Path, *, adds_bos: bool = False, special: dict[str, Any] | None = None, **own: Any
) -> Path:
    """Save a byte tokenizer with the special tokens <s>, </s> and what `own` says."""
    tokenizer = train_tokenizer(CORPUS, 258)
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>", **(special or {})})
    for name, value in own.items():
        setattr(tokenizer, name, value)
    if adds_bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
        )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "pairs.jsonl", hh_rows())


@pytest.mark.parametrize("size", [258, 280, 330])
def test_the_own_tokenizer_is_the_same_whatever_the_order_of_its_texts(size: int) -> None:
    tokenizers = [train_tokenizer(texts, size) for texts in (CORPUS, CORPUS[::-1], sorted(CORPUS))]
    states = {tokenizer.backend_tokenizer.to_str() for tokenizer in tokenizers}
    assert len(states) == 1
    assert len(tokenizers[0]) == size


@given(st.text())
def test_the_own_tokenizer_gives_back_any_text(text: str) -> None:
    tokenizer = OWN
    ids = tokenizer(text, split_special_tokens=True).input_ids
    assert tokenizer.decode(ids) == text.encode(errors="replace").decode()


OWN: PreTrainedTokenizerBase = train_tokenizer(CORPUS, 330)


def test_the_own_tokenizer_learns_from_training_text_only(tmp_path: Path) -> None:
    rows = [{"prompt": f"{t * 3}:", "chosen": " yes", "rejected": " no"} for t in THINGS]
    task = make(write_jsonl(tmp_path / "a.jsonl", rows), vocabulary_size=400)
    vocabulary = set(task.tokenizer.get_vocab())

    def held(prompts: list[tuple[int, ...]]) -> list[bool]:
        whole = (task.tokenizer.decode(prompt).rstrip(":") for prompt in prompts)
        return [text in vocabulary for text in whole]

    # With room for every merge, each training word is one token, and no held-out word is.
    assert all(held(task.train_prompts()))
    assert not any(held(task.eval_prompts()))


def test_a_given_tokenizer_writes_the_pairs(tmp_path: Path, data: Path) -> None:
    folder = given_tokenizer(tmp_path / "tokenizer")
    task = make(data, tokenizer=str(folder))
    assert all(chosen.endswith("</s>") for _, chosen, _ in decoded(task))
    assert task.tokenizer.pad_token == "<pad>"
    assert not any(task.tokenizer.bos_token_id in prompt for prompt in task.train_prompts())


def test_the_own_tokenizer_saved_and_given_makes_the_same_task(tmp_path: Path, data: Path) -> None:
    task = make(data, vocabulary_size=330)
    task.tokenizer.save_pretrained(tmp_path / "saved")
    again = make(data, tokenizer=str(tmp_path / "saved"))
    assert again.fingerprint() == task.fingerprint()
    assert again.pretraining_texts() == task.pretraining_texts()


def test_a_given_tokenizer_is_known_by_its_content_not_its_place(tmp_path: Path, data: Path) -> None:
    one, same = (str(given_tokenizer(tmp_path / name)) for name in ("one", "same"))
    other = str(given_tokenizer(tmp_path / "other", pad_token="</s>"))
    prints = [make(data, tokenizer=place).fingerprint() for place in (one, same, other)]
    assert prints[0] == prints[1] != prints[2]


def test_a_tokenizer_that_opens_texts_with_bos_opens_every_prompt_with_it(
    tmp_path: Path, data: Path
) -> None:
    folder = str(given_tokenizer(tmp_path / "tokenizer", adds_bos=True))
    whole, cut = (make(data, tokenizer=folder, max_prompt_tokens=cap) for cap in (400, 20))
    bos = whole.tokenizer.bos_token_id
    for long, short in zip(whole.train_prompts(), cut.train_prompts(), strict=True):
        assert long.count(bos) == 1 and long[0] == bos
        assert short == (bos, *long[-19:])


def test_conversations_are_written_by_the_chat_template(tmp_path: Path) -> None:
    folder = given_tokenizer(tmp_path / "tokenizer", adds_bos=True, chat_template=TEMPLATE)
    rows = [{n: turns[-2:] for n, turns in row.items()} for row in conversation_rows()]
    task = make(write_jsonl(tmp_path / "a.jsonl", rows), tokenizer=str(folder))
    assert decoded(task) == {
        (
            f"<s><|user|>How do I make {thing}?</s>\n<|assistant|>",
            f"Mix the {thing} well.</s>",
            "No idea.</s>",
        )
        for thing in THINGS
    }


def test_a_chat_template_that_prints_the_date_writes_the_same_on_any_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dated = (
        "  {% macro day(form) %}{{ strftime_now(form) }}{% endmacro %}{{ day('%d %b %Y, %-d/%m') }}\n"
    )
    template = dated + "{%- set year = strftime_now('%Y') %} in {{ year }}\n" + TEMPLATE
    folder = given_tokenizer(tmp_path / "tokenizer", chat_template=template)
    rows = [{n: turns[-2:] for n, turns in row.items()} for row in conversation_rows()]
    data = write_jsonl(tmp_path / "a.jsonl", rows)
    tasks = []
    for day in (datetime(2026, 11, 30), datetime(2026, 12, 1)):
        monkeypatch.setattr(chat_template_utils, "datetime", Mock(**{"now.return_value": day}))
        tasks.append(make(data, tokenizer=str(folder)))
    today, tomorrow = tasks
    assert decoded(today) == decoded(tomorrow)
    assert today.train_prompts() == tomorrow.train_prompts()
    assert today.fingerprint() == tomorrow.fingerprint()
    prompts = {prompt for prompt, _, _ in decoded(today)}
    start = "26 Jul 2024, 26/07 in 2024\n<s><|user|>"
    assert prompts == {f"{start}How do I make {thing}?</s>\n<|assistant|>" for thing in THINGS}


TURNS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% else %}{{ eos_token }}{% endif %}"
)
"""Ends a turn with a token of its own, and a dialogue with the tokenizer's, as Phi-3's template does."""


def turn_ending_task(tmp_path: Path, **own: Any) -> PreferencesTask:
    """Make the task with a tokenizer whose chat template is TURNS."""
    special = {"additional_special_tokens": ["<|end|>"]}
    folder = given_tokenizer(tmp_path / "tokenizer", special=special, chat_template=TURNS)
    return make(write_jsonl(tmp_path / "a.jsonl", conversation_rows()), tokenizer=str(folder), **own)


def test_an_end_token_that_is_given_ends_every_response(tmp_path: Path) -> None:
    task = turn_ending_task(tmp_path, end_token="<|end|>")
    assert task.tokenizer.eos_token == "<|end|>"
    for prompt, chosen, rejected in decoded(task):
        assert prompt.endswith("<|end|>\n<|assistant|>") and "</s>" not in prompt
        assert chosen.startswith("Mix the ") and chosen.endswith(" well.<|end|>")
        assert rejected == "No idea.<|end|>"
    assert task.fingerprint() != turn_ending_task(tmp_path).fingerprint()


def test_an_end_token_that_the_tokenizer_lacks_is_refused(tmp_path: Path) -> None:
    sentence = r"unknown end token '<end>' in the tokenizer .*; did you mean '<\|end\|>'\?"
    with pytest.raises(ValueError, match=sentence):
        turn_ending_task(tmp_path, end_token="<end>")


def test_an_end_token_without_a_given_tokenizer_is_refused(data: Path) -> None:
    with pytest.raises(
        ValueError, match="end_token <eot> is a given tokenizer's; set tokenizer as well"
    ):
        make(data, end_token="<eot>")


def test_settings_without_an_end_token_are_those_from_before_there_was_one() -> None:
    assert "end_token" not in PreferencesSettings(data="x").model_dump()


def test_a_policy_without_sft_that_ends_its_turn_otherwise_is_refused(tmp_path: Path) -> None:
    GPT2Config(vocab_size=300).save_pretrained(tmp_path / "policy")
    given = ModelSettings(path=str(tmp_path / "policy"))
    as_it_is = PrepareSettings(policy=given, sft=TrainingSettings(steps=0))
    sentence = r"end with <\|end\|> and only then with </s>, .* set end_token: <\|end\|> in the task"
    with pytest.raises(ValueError, match=sentence):
        require_fit(turn_ending_task(tmp_path), as_it_is, 8)
    require_fit(turn_ending_task(tmp_path), PrepareSettings(policy=given), 8)
    require_fit(turn_ending_task(tmp_path, end_token="<|end|>"), as_it_is, 8)


def test_an_end_token_that_an_assistant_writes_itself_drops_the_pair(tmp_path: Path) -> None:
    folder = given_tokenizer(tmp_path / "tokenizer", chat_template=TEMPLATE)
    rows = conversation_rows()
    rows[0]["chosen"][-1]["content"] = "Done.</s> Not yet."
    task = make(write_jsonl(tmp_path / "a.jsonl", rows), tokenizer=str(folder))
    assert task.dropped == {Flaw.END_INSIDE: 1}


@pytest.mark.parametrize(
    ("own", "padding"),
    [
        ({"pad_token": None, "unk_token": "<s>"}, "<s>"),
        ({"pad_token": None}, "<pad>"),
        ({"pad_token": None, "unk_token": "</s>"}, "<pad>"),
    ],
)
def test_a_tokenizer_without_padding_pads_with_a_token_it_has(
    tmp_path: Path, own: dict[str, Any], padding: str
) -> None:
    folder = given_tokenizer(tmp_path / "tokenizer", **own)
    tokenizer = load_given_tokenizer(str(folder))
    assert tokenizer.pad_token == padding


def test_a_tokenizer_with_an_end_token_only_pads_with_it(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE({"<|endoftext|>": 0, "t": 1, "e": 2, "x": 3}, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel()
    bare = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|endoftext|>")
    bare.save_pretrained(tmp_path)
    tokenizer = load_given_tokenizer(str(tmp_path))
    assert (tokenizer.pad_token, len(tokenizer)) == ("<|endoftext|>", 4)
