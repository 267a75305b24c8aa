"""Small preference data in every format, made by the tests."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.tasks.preferences import PreferencesSettings, PreferencesTask

Row = dict[str, Any]
THINGS = ("tea", "bread", "soup", "paint", "glue", "rope", "soap", "wax", "ink", "jam", "yarn", "clay")


def hh_rows() -> list[Row]:
    """One row per thing, in HH-RLHF's format; even ones have an earlier turn."""
    rows = []
    for index, thing in enumerate(THINGS):
        first = f"\n\nHuman: I like {thing}.\n\nAssistant: So do I." if index % 2 == 0 else ""
        prompt = f"{first}\n\nHuman: How do I make {thing}?\n\nAssistant:"
        rows.append({"chosen": f"{prompt} Mix the {thing} well.", "rejected": f"{prompt} No idea."})
    return rows


def prompt_rows() -> list[Row]:
    """Split the same dialogues into explicit prompts and responses."""
    return [
        {name: text[text.rfind("\n\nAssistant:") + 12 :] for name, text in row.items()}
        | {"prompt": row["chosen"][: row["chosen"].rfind("\n\nAssistant:") + 12]}
        for row in hh_rows()
    ]


def conversation_rows() -> list[Row]:
    """Write the same dialogues as lists of messages."""
    return [{name: messages(text) for name, text in row.items()} for row in hh_rows()]


def messages(text: str) -> list[dict[str, str]]:
    """Split a dialogue in HH-RLHF's format into messages."""
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = [turn.split(": ", 1) for turn in text.split("\n\n")[1:]]
    return [{"role": roles[speaker], "content": said} for speaker, said in turns]


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    """Write JSON lines, packed where the name ends in .gz."""
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    """Write a CSV file with a header."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def make(data: Path | str, **own: Any) -> PreferencesTask:
    """Make the task with bytes as tokens, caps that cut nothing, a quarter of the pairs held out."""
    defaults = {"vocabulary_size": 258, "max_prompt_tokens": 400, "max_response_tokens": 200}
    return PreferencesTask(
        PreferencesSettings(data=str(data), **{**defaults, "held_out_share": 0.25, **own})
    )


def decoded(task: PreferencesTask) -> set[tuple[str, str, str]]:
    """Return all pairs of a task as text."""
    found = task.preferences(lambda prompts, seed: [])
    pairs = [*found.train, *found.held_out]
    return {
        (
            task.tokenizer.decode(pair.prompt),
            task.tokenizer.decode(pair.chosen),
            task.tokenizer.decode(pair.rejected),
        )
        for pair in pairs
    }
