"""The preferences task: every format gives the same pairs; no dialogue is on both sides."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.tasks.preference_data import (
    THINGS,
    conversation_rows,
    decoded,
    hh_rows,
    make,
    prompt_rows,
    write_csv,
    write_jsonl,
)
from workbench.tasks.base import Tokens
from workbench.tasks.preferences import Flaw, PreferencesTask

EXPECTED = {(row["prompt"], f"{row['chosen']}<eos>", f"{row['rejected']}<eos>") for row in prompt_rows()}


def write_json(path: Path, rows: list[Any]) -> Path:
    path.write_text(json.dumps(rows, indent=1))
    return path


def write_parquet(path: Path, rows: list[Any]) -> Path:
    pd.DataFrame(rows).to_parquet(path)
    return path


WRITERS = [
    ("a.jsonl", write_jsonl),
    ("a.jsonl.gz", write_jsonl),
    ("a.json", write_json),
    ("lines.json", write_jsonl),
    ("a.parquet", write_parquet),
    ("a.csv", write_csv),
]
FORMATS = [
    pytest.param(name, writer, rows, id=f"{name}-{rows.__name__}")
    for name, writer in WRITERS
    for rows in (hh_rows, prompt_rows, conversation_rows)
    if not (name == "a.csv" and rows is conversation_rows)
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "pairs.jsonl", hh_rows())


@pytest.mark.parametrize(("name", "writer", "rows"), FORMATS)
def test_every_file_format_and_row_format_gives_the_same_pairs(
    tmp_path: Path, name: str, writer: Callable[..., Path], rows: Callable[[], list[Any]]
) -> None:
    assert decoded(make(writer(tmp_path / name, rows()))) == EXPECTED


def test_a_folder_is_read_as_all_its_data_files(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", hh_rows()[:5])
    write_csv(tmp_path / "b.csv", prompt_rows()[5:])
    (tmp_path / "README.md").write_text("not data")
    assert decoded(make(tmp_path)) == EXPECTED


def test_a_hub_data_set_is_loaded_by_name_subset_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load(*names: str, split: str) -> datasets.Dataset:
        asked.append((*names, split))
        return datasets.Dataset.from_list(conversation_rows())

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert decoded(make("someone/pairs", subset="helpful", split="test")) == EXPECTED
    assert asked == [("someone/pairs", "helpful", "test")]


def test_a_prompt_beside_conversations_is_joined_only_where_they_lack_it(tmp_path: Path) -> None:
    whole = conversation_rows()
    prompts = [row["chosen"][:-1] for row in whole]
    answers = [{name: turns[-1:] for name, turns in row.items()} for row in whole]
    lists = [{"prompt": prompt, **row} for prompt, row in zip(prompts, answers, strict=True)]
    repeated = [{"prompt": prompt, **row} for prompt, row in zip(prompts, whole, strict=True)]
    texts = [{"prompt": turns[-1]["content"], **row} for turns, row in zip(prompts, whole, strict=True)]
    for name, rows in {"lists": lists, "repeated": repeated, "texts": texts}.items():
        assert decoded(make(write_jsonl(tmp_path / f"{name}.jsonl", rows))) == EXPECTED


def test_a_text_prompt_is_the_user_turn_of_lone_answers(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"Buy {thing}?",
            "chosen": [{"role": "assistant", "content": "Yes."}],
            "rejected": [{"role": "assistant", "content": "No."}],
        }
        for thing in THINGS
    ]
    expected = {(f"\n\nHuman: Buy {t}?\n\nAssistant:", " Yes.<eos>", " No.<eos>") for t in THINGS}
    assert decoded(make(write_jsonl(tmp_path / "a.jsonl", rows))) == expected


def test_a_system_message_stands_unmarked_before_the_dialogue(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    rows = [{name: [system, *turns] for name, turns in row.items()} for row in conversation_rows()]
    expected = {("Be brief." + prompt, *responses) for prompt, *responses in EXPECTED}
    assert decoded(make(write_jsonl(tmp_path / "a.jsonl", rows))) == expected


def test_other_role_markers_are_used_to_read_and_to_write(tmp_path: Path) -> None:
    roles = {"human": "<q> ", "assistant": "<a> "}

    def marked(text: str) -> str:
        return text.replace("\n\nHuman: ", "<q> ").replace("\n\nAssistant: ", "<a> ")

    rows = [{name: marked(text) for name, text in row.items()} for row in hh_rows()]
    as_text = make(write_jsonl(tmp_path / "text.jsonl", rows), roles=roles)
    as_turns = make(write_jsonl(tmp_path / "turns.jsonl", conversation_rows()), roles=roles)
    assert decoded(as_text) == decoded(as_turns)
    assert all(prompt.endswith("<a> ") for prompt, _, _ in decoded(as_text))


def test_unusable_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    start = "\n\nHuman: Hi\n\nAssistant:"
    flawed = [
        {"chosen": f"{start} a ", "rejected": f"{start} a"},
        {"chosen": f"{start} ", "rejected": f"{start} a"},
        {"chosen": None, "rejected": f"{start} a"},
        {"chosen": "a", "rejected": "b"},
        {"chosen": f"{start} a{start} b", "rejected": f"{start} b"},
        {"chosen": f"{start} a <eos> b", "rejected": f"{start} b"},
    ]
    task = make(write_jsonl(tmp_path / "a.jsonl", [*flawed, *hh_rows()]))
    assert decoded(task) == EXPECTED
    assert task.rows == len(flawed) + len(THINGS)
    assert task.dropped == {
        Flaw.EQUAL: 1, Flaw.EMPTY: 2, Flaw.NO_PROMPT: 1, Flaw.OTHER_TURNS: 1, Flaw.END_INSIDE: 1,
    }  # fmt: skip
    assert "1 with equal responses" in task.summary()


def test_unusable_conversations_are_dropped_and_counted(tmp_path: Path) -> None:
    ask = {"role": "user", "content": "q"}
    yes, no = ({"role": "assistant", "content": answer} for answer in ("y", "n"))
    flawed = [
        {"chosen": [ask, yes], "rejected": [ask, yes]},
        {"chosen": [ask, yes], "rejected": [ask]},
        {"chosen": [ask, yes, ask, yes], "rejected": [ask, no, ask, no]},
        {"chosen": [yes], "rejected": [no]},
    ]
    task = make(write_jsonl(tmp_path / "a.jsonl", [*flawed, *conversation_rows()]))
    assert task.dropped == {Flaw.EQUAL: 1, Flaw.OTHER_TURNS: 2, Flaw.NO_PROMPT: 1}


def test_a_long_prompt_keeps_its_end_and_a_long_response_its_beginning(data: Path) -> None:
    whole = make(data).preferences(lambda prompts, seed: [])
    task = make(data, max_prompt_tokens=20, max_response_tokens=8)
    cut = task.preferences(lambda prompts, seed: [])
    for long, short in zip(whole.train, cut.train, strict=True):
        assert short.prompt == long.prompt[-20:]
        assert short.chosen == long.chosen[:8]
        assert short.rejected == long.rejected[:8]
    # Tokens are bytes: the shortest prompt has 40, the shortest response, " No idea.", 9.
    assert task.truncated == {"prompts": 12, "chosen": 12, "rejected": 12}


def test_long_responses_can_be_dropped_instead(data: Path) -> None:
    whole = make(data).preferences(lambda prompts, seed: [])
    pairs = [*whole.train, *whole.held_out]
    cap = sorted(max(len(p.chosen), len(p.rejected)) for p in pairs)[len(pairs) // 2]
    long = sum(max(len(pair.chosen), len(pair.rejected)) > cap for pair in pairs)
    task = make(data, max_response_tokens=cap, long_responses="drop")
    kept = task.preferences(lambda prompts, seed: [])
    assert task.dropped == {Flaw.TOO_LONG: long} and 0 < long < len(pairs)
    assert all(pair.chosen[-1] == task.tokenizer.eos_token_id for pair in kept.train)


def test_responses_that_differ_only_behind_the_cap_are_dropped(tmp_path: Path) -> None:
    twins = {"prompt": "Go on.\n\nAssistant:", "chosen": "a" * 50 + "b", "rejected": "a" * 50 + "c"}
    rows = [*prompt_rows(), twins]
    task = make(write_jsonl(tmp_path / "a.jsonl", rows), max_response_tokens=5)
    assert task.dropped[Flaw.EQUAL_UP_TO_CAP] == 1


def test_dialogues_with_one_opening_are_never_on_both_sides(tmp_path: Path) -> None:
    rows = []
    for thing in THINGS:
        opening = f"\n\nHuman: Tell me of {thing}.\n\nAssistant:"
        for turns in range(3):
            prompt = opening + turns * " Yes.\n\nHuman: More.\n\nAssistant:"
            rows.append({"prompt": prompt, "chosen": " Good.", "rejected": " Bad."})
    task = make(write_jsonl(tmp_path / "a.jsonl", rows))

    def openings(prompts: list[Tokens]) -> set[str]:
        return {task.tokenizer.decode(prompt).split("\n\nAssistant:")[0] for prompt in prompts}

    train, held_out = openings(task.train_prompts()), openings(task.eval_prompts())
    assert not train & held_out
    assert (len(train), len(held_out)) == (9, 3)  # a quarter of 36 pairs is 9, three openings' worth


def test_prompts_that_become_equal_when_cut_are_never_on_both_sides(data: Path) -> None:
    # Tokens are bytes: the last four of every prompt of the first kind are dots.
    rows = [{"prompt": f"{t}{'.' * 40}", "chosen": " a", "rejected": " b"} for t in THINGS]
    rows += [{"prompt": f"short {t}", "chosen": " a", "rejected": " b"} for t in THINGS]
    task = make(write_jsonl(data, rows), max_prompt_tokens=4)
    assert task.dropped[Flaw.SEEN] > 0
    assert not set(task.train_prompts()) & set(task.eval_prompts())


def test_what_the_stages_get_comes_from_the_right_side(data: Path) -> None:
    task = make(data, eval_prompts=2, held_out_texts=1)
    pairs = task.preferences(lambda prompts, seed: [])
    assert (len(pairs.train), len(pairs.held_out)) == (9, 3)  # a quarter of 12 is 3
    assert task.train_prompts() == [pair.prompt for pair in pairs.train]
    assert task.eval_prompts() == [pair.prompt for pair in pairs.held_out[:2]]
    assert task.pretraining_texts() == [(*pair.prompt, *pair.chosen) for pair in pairs.train]
    assert task.held_out_texts() == [(*pair.prompt, *pair.chosen) for pair in pairs.held_out[:1]]
    shown = [(shot.prompt, shot.response) for shot in task.demonstrations()]
    assert shown == [(pair.prompt, pair.chosen) for pair in pairs.train]
    assert task.gold(task.train_prompts(), [pair.chosen for pair in pairs.train]) is None


def everything(task: PreferencesTask) -> tuple[Any, ...]:
    return (
        task.preferences(lambda prompts, seed: []), task.pretraining_texts(), task.held_out_texts(),
        task.demonstrations(), task.train_prompts(), task.eval_prompts(), task.fingerprint(),
        task.tokenizer.get_vocab(),
    )  # fmt: skip


def test_neither_the_order_of_rows_nor_the_place_of_the_file_changes_anything(data: Path) -> None:
    moved = write_jsonl(data.with_name("moved.jsonl.gz"), hh_rows()[::-1])
    assert everything(make(data, limit=10)) == everything(make(moved, limit=10))


def test_seed_content_and_caps_change_the_fingerprint(data: Path) -> None:
    edited = hh_rows()
    edited[3]["chosen"] += " Then stir."
    other = write_jsonl(data.with_name("edited.jsonl"), edited)
    tasks = [make(data), make(data, seed=1), make(other), make(data, max_prompt_tokens=20)]
    assert len({task.fingerprint() for task in tasks}) == len(tasks)


def test_another_process_makes_the_same_task(data: Path) -> None:
    code = (
        "import sys; from tests.tasks.preference_data import make; "
        "print(make(sys.argv[1]).fingerprint())"
    )
    root = Path(__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-c", code, data], cwd=root, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == make(data).fingerprint()


def test_a_limit_keeps_that_many_pairs_of_all(tmp_path: Path, data: Path) -> None:
    few = decoded(make(data, limit=4))
    assert len(few) == 4
    assert few < EXPECTED
    assert few != decoded(make(data, limit=4, seed=1))


def test_a_packed_file_is_read_to_its_end(tmp_path: Path) -> None:
    lines = [json.dumps(row) + "\n" for row in hh_rows()]
    path = tmp_path / "a.jsonl.gz"
    # Two gzip members behind one another are one file.
    path.write_bytes(
        gzip.compress("".join(lines[:4]).encode()) + gzip.compress("".join(lines[4:]).encode())
    )
    assert decoded(make(path)) == EXPECTED
