"""Bad data, a bad tokenizer or a bad dialogue is one sentence that says where, before any training."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.tasks.preference_data import (
    conversation_rows,
    hh_rows,
    make,
    prompt_rows,
    write_csv,
    write_jsonl,
)
from tests.tasks.test_preferences_tokenizer import given_tokenizer
from workbench.tasks.preferences import PreferencesSettings

START = "\n\nHuman: Hi\n\nAssistant:"


def refusal(data: Path | str, **own: Any) -> str:
    """Return the one sentence that making the task raises."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        make(data, **own)
    message = str(caught.value)
    assert "\n" not in message and ". " not in message
    return message


def refused_lines(path: Path, *lines: Any, **own: Any) -> str:
    return refusal(write_jsonl(path, lines), **own)


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pairs.jsonl", hh_rows())
    path = tmp_path / "pears.jsonl"
    assert refusal(path) == f"there is no file or folder {path}; did you mean '{tmp_path}/pairs.jsonl'?"


def test_a_missing_folder_on_the_way_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "date" / "pairs.jsonl"
    assert refusal(path) == f"there is no file or folder {path}; did you mean '{tmp_path}/data'?"


def test_a_missing_file_like_no_other_says_so(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    assert refusal(path) == f"there is no file or folder {path}; {tmp_path} has nothing like 'pairs.csv'"


def test_a_short_relative_path_is_not_taken_for_a_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "helpful").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    said = "there is no file or folder data/helpfull; did you mean 'data/helpful'?"
    assert refusal("data/helpfull") == said


def test_a_hub_data_set_that_cannot_be_loaded_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def fail(*names: str, split: str) -> None:
        raise ValueError(f'Unknown split "{split}". Should be one of [...].\nmore')

    monkeypatch.setattr(datasets, "load_dataset", fail)
    assert refusal("someone/pairs", split="trian") == (
        'someone/pairs is no local file, and no hub data set to load: Unknown split "trian"'
    )


def test_an_empty_hub_data_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    empty = datasets.Dataset.from_dict({"chosen": [], "rejected": []})
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, split: empty)
    assert refusal("someone/pairs") == "the data set someone/pairs is empty: it has no row of data"


def test_a_split_of_a_local_file_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", hh_rows())
    assert (
        refusal(path, split="test") == f"subset and split belong to hub data sets, but {path} is local"
    )


def test_a_file_or_folder_without_known_ending_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("{}")
    endings = ".jsonl, .jsonl.gz, .json, .json.gz, .csv, .parquet"
    assert refusal(path) == f"{path} is of no known kind; data files end in {endings}"
    assert refusal(tmp_path) == f"the folder {tmp_path} has no file ending in {endings}"


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", b""), ("b.jsonl", b"\n\n"), ("a.json", b"[]"), ("a.csv", b"chosen,rejected\n"),
     ("a.jsonl.gz", gzip.compress(b"", mtime=0))],
)  # fmt: skip
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path) == f"{path} is empty: it has no row of data"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.jsonl", b'{"chosen": "a", "rejected": "b"}\n{"chosen": "a"\n',
         ", line 2: not JSON: Expecting ',' delimiter at column 1"),
        ("a.json", b'[\n{"chosen": "a"},\n{"chosen" "b"}]',
         ", line 3: not JSON: Expecting ':' delimiter at column 11"),
        ("b.jsonl", b'{"chosen": "a", "rejected": "b"}\n["a"]\n',
         ", line 2: a row must be a JSON object, got list"),
        ("b.json", b"[1]", ", row 1: a row must be a JSON object, got int"),
        ("c.jsonl", b'{"chosen": "\xff"}\n', " is not UTF-8 text: invalid start byte"),
        ("d.jsonl.gz", b"not packed", " is no whole gzip file: Not a gzipped file (b'no')"),
        ("e.jsonl.gz", gzip.compress(b'{"chosen": "a"}\n', mtime=0)[:-9],
         " is no whole gzip file: Compressed file ended before the end-of-stream marker was reached"),
        ("f.jsonl.gz", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 20, " is no whole gzip file: "
         "Error -3 while decompressing data: invalid block type"),
        ("a.csv", b"chosen,rejected\na,b,c\n",
         ", line 2: the number of fields differs from the header's"),
        ("b.csv", b"chosen,rejected\na\n",
         ", line 2: the number of fields differs from the header's"),
        ("c.csv", b'chosen,rejected\n"a"b,c\n', ", line 2: malformed CSV: ',' expected after '\"'"),
        ("a.parquet", b"not columns",
         " is no whole Parquet file: Parquet magic bytes not found in footer"),
    ],
)  # fmt: skip
def test_a_malformed_file_says_where(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path) == f"{path}{complaint}"


def test_a_missing_column_names_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    said = refused_lines(path, *hh_rows(), {"choosen": "a", "rejected": "b"})
    assert said == f"{path}, line 13: there is no column 'chosen'; the nearest is 'choosen'"
    said = refused_lines(path, {"chosen": "a", "text": "b"})
    assert said == f"{path}, line 1: there is no column 'rejected'; there are chosen, text"


ASK = {"role": "user", "content": "q"}
YES = {"role": "assistant", "content": "y"}
NO_TEXT = "every message of 'chosen' must have a role and a content, both text"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"chosen": 3, "rejected": 4}, "'chosen' must be text or a list of messages, got int"),
        ({"chosen": 3, "rejected": "b"},
         "chosen and rejected must both be text or both lists of messages, got int and text"),
        ({"chosen": "a", "rejected": [ASK, YES]},
         "chosen and rejected must both be text or both lists of messages, got text and list"),
        ({"chosen": ["a"], "rejected": [YES]}, NO_TEXT),
        ({"chosen": [{"role": "user"}], "rejected": [YES]}, NO_TEXT),
        ({"chosen": [{"role": "user", "content": 1}], "rejected": [YES]}, NO_TEXT),
        ({"prompt": 1, "chosen": "a", "rejected": "b"},
         "'prompt' must be text where the responses are, got int"),
        ({"prompt": 1, "chosen": [YES], "rejected": [ASK]},
         "'prompt' must be text or a list of messages, got int"),
        ({"chosen": [{"role": "usr", "content": "q"}, YES],
          "rejected": [{"role": "usr", "content": "q"}, YES | {"content": "n"}]},
         "unknown role 'usr'; did you mean 'user'?"),
    ],
)  # fmt: skip
def test_a_value_of_a_wrong_type_says_where(tmp_path: Path, row: Any, complaint: str) -> None:
    path = tmp_path / "a.jsonl"
    assert refused_lines(path, *hh_rows(), row) == f"{path}, line 13: {complaint}"


def test_data_without_a_usable_pair_says_why(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    same = {"chosen": f"{START} a", "rejected": f"{START} a"}
    assert refused_lines(path, same, same, {"chosen": "", "rejected": "b"}) == (
        f"no usable pair is left to train on in the 3 rows of {path}; "
        "dropped: 1 with an empty prompt or response, 2 with equal responses"
    )


def test_data_with_one_prompt_cannot_be_held_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"chosen": f"{START} a{n}", "rejected": f"{START} b"} for n in range(3)]
    assert refused_lines(path, *rows) == f"{path} has one prompt only, so none can be held out"


def test_data_whose_held_out_prompts_all_become_training_prompts_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    said = refused_lines(path, *prompt_rows(), max_prompt_tokens=5)  # every prompt ends in "tant:"
    assert said == (
        f"no usable pair is left to hold out in the 12 rows of {path}; "
        "dropped: 3 with a prompt that, truncated, is also on another side"
    )


def test_a_missing_tokenizer_folder_names_the_nearest_one(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", hh_rows())
    given_tokenizer(tmp_path / "tokenizer")
    folder = tmp_path / "tokeniser"
    said = refusal(path, tokenizer=str(folder))
    assert said == f"there is no tokenizer folder {folder}; did you mean '{tmp_path}/tokenizer'?"


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", hh_rows())
    assert refusal(path, tokenizer=str(tmp_path)).startswith(f"{tmp_path} has no tokenizer to load: ")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    said = refusal(path, tokenizer=str(tmp_path))
    assert said == f"{tmp_path} has no tokenizer to load: its vocabulary is empty"


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", hh_rows())
    folder = given_tokenizer(tmp_path / "tokenizer", eos_token=None)
    said = refusal(path, tokenizer=str(folder))
    assert said == f"the tokenizer {folder} has no end-of-sequence token to end responses with"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ raise_exception('only one turn') }}",
         "the tokenizer's chat template refuses a dialogue: only one turn"),
        ("{{ messages | length }}",
         "the tokenizer's chat template rewrites a prompt once it is answered"),
    ],
)  # fmt: skip
def test_a_chat_template_that_does_not_fit_the_dialogues_says_where(
    tmp_path: Path, template: str, complaint: str
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", conversation_rows())
    folder = given_tokenizer(tmp_path / "tokenizer", chat_template=template)
    assert refusal(path, tokenizer=str(folder)) == f"{path}, line 1: {complaint}"


@pytest.mark.parametrize(
    "wrong", [{"data": ""}, {"held_out_share": 0}, {"held_out_share": 1}, {"limit": 1},
              {"vocabulary_size": 257}, {"long_responses": "keep"}, {"max_response_tokens": 1}],
)  # fmt: skip
def test_settings_out_of_their_domain_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PreferencesSettings(**{"data": "a.jsonl", **wrong})


@pytest.mark.parametrize("written", [str, json.dumps])
def test_conversations_printed_into_a_csv_file_are_no_responses(
    tmp_path: Path, written: Callable[[Any], str]
) -> None:
    rows = [{name: written(turns) for name, turns in row.items()} for row in conversation_rows()]
    assert refusal(write_csv(tmp_path / "a.csv", rows)) == (
        f"{tmp_path}/a.csv, line 2: 'chosen' is a list of messages written as text, as CSV files have "
        "to; give conversations as .jsonl or .parquet"
    )
