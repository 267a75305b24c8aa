"""Bring a row, whatever its format, to one prompt with a chosen and a rejected response, as text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from workbench.tasks.preferences.formats import Format, Message
from workbench.tasks.preferences.settings import RoleMarkers
from workbench.tasks.preferences.sources import Row


class Flaw(StrEnum):
    """Why a row is dropped; each is counted."""

    EMPTY = "an empty prompt or response"
    EQUAL = "equal responses"
    NO_PROMPT = "no shared prompt that ends where the assistant speaks"
    OTHER_TURNS = "more than the last turn different"
    END_INSIDE = "an end-of-sequence token inside a response"
    TOO_LONG = "a response longer than the cap"
    EQUAL_UP_TO_CAP = "responses equal up to the cap"
    SEEN = "a prompt that, truncated, is also on another side"


@dataclass(frozen=True, slots=True)
class TextPair:
    """One comparison as text.

    Attributes:
        prompt: what both responses answer; ends where the assistant speaks.
        chosen: the preferred response; follows the prompt with nothing between.
        rejected: the other response.
        opening: the dialogue up to the first answer; dialogues that share it are held out together.
    """

    prompt: str
    chosen: str
    rejected: str
    opening: str


def read_pair(row: Row, form: Format, roles: RoleMarkers) -> TextPair | Flaw:
    """Read one row.

    Without a prompt column, the prompt is what both dialogues share up to the last assistant turn.
    A text column is taken as it is; conversations are written by `form`.

    Args:
        row: place and columns: chosen, rejected and perhaps prompt, each text or messages.
        form: how conversations become text.
        roles: markers of turns in text.
    Returns:
        the pair, or why there is none.
    Raises:
        ValueError: if a column is missing or of a wrong type; says where.
    """
    place, columns = row
    for name in ("chosen", "rejected"):
        if name not in columns:
            raise ValueError(f"{place}: {_no_column(name, columns)}")
    prompt, chosen, rejected = (columns.get(name) for name in ("prompt", "chosen", "rejected"))
    if not chosen or not rejected or (not prompt and prompt is not None):
        return Flaw.EMPTY
    try:
        if isinstance(chosen, str) and isinstance(rejected, str):
            _refuse_printed(chosen)
            return _from_texts(prompt, chosen, rejected, roles)
        if isinstance(chosen, str) or isinstance(rejected, str):
            kinds = f"{_kind(chosen)} and {_kind(rejected)}"
            raise ValueError(
                f"chosen and rejected must both be text or both lists of messages, got {kinds}"
            )
        return _from_messages(prompt, _messages("chosen", chosen), _messages("rejected", rejected), form)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _refuse_printed(text: str) -> None:
    """Refuse a list of messages that was printed into a cell: as text it would be the response."""
    if re.match(r"\s*\[\s*\{\s*[\"'](role|content|from|value)[\"']\s*:", text):
        raise ValueError(
            "'chosen' is a list of messages written as text, as CSV files have to; "
            "give conversations as .jsonl or .parquet"
        )


def _from_texts(prompt: Any, chosen: str, rejected: str, roles: RoleMarkers) -> TextPair | Flaw:
    if prompt is not None and not isinstance(prompt, str):
        raise ValueError(f"'prompt' must be text where the responses are, got {_kind(prompt)}")
    if prompt is not None:
        return _checked(TextPair(prompt, chosen, rejected, _opening(prompt, roles)))
    at = chosen[: _shared(chosen, rejected)].rfind(roles.assistant)
    if at < 0:
        return Flaw.NO_PROMPT
    end = at + len(roles.assistant)
    prompt, better, worse = chosen[:end], chosen[end:], rejected[end:]
    if any(marker in better + worse for marker in (roles.human, roles.assistant)):
        return Flaw.OTHER_TURNS
    return _checked(TextPair(prompt, better, worse, _opening(prompt, roles)))


def _from_messages(
    prompt: Any, chosen: list[Message], rejected: list[Message], form: Format
) -> TextPair | Flaw:
    """Join a given prompt to the answers where they do not repeat it, and write out the pair."""
    before: list[Message] = []
    if isinstance(prompt, str):
        before = [{"role": "user", "content": prompt}] if chosen[0]["role"] == "assistant" else []
    elif prompt is not None:
        given = _messages("prompt", prompt)
        before = given if chosen[: len(given)] != given else []
    chosen, rejected = before + chosen, before + rejected
    if chosen == rejected:
        return Flaw.EQUAL
    shared = _shared(chosen, rejected)
    answers = [*chosen[shared:], *rejected[shared:]]
    if len(answers) != 2 or any(answer["role"] != "assistant" for answer in answers):
        return Flaw.OTHER_TURNS
    if not shared:
        return Flaw.NO_PROMPT
    context = chosen[:shared]
    text = form.prompt(context)
    better, worse = (form.response(context, text, answer["content"]) for answer in answers)
    return _checked(TextPair(text, better, worse, form.prompt(context[: _first_answer(context)])))


def _checked(pair: TextPair) -> TextPair | Flaw:
    if not all(text.strip() for text in (pair.prompt, pair.chosen, pair.rejected)):
        return Flaw.EMPTY
    return Flaw.EQUAL if pair.chosen.strip() == pair.rejected.strip() else pair


def _shared(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many leading characters or turns two dialogues share."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _opening(prompt: str, roles: RoleMarkers) -> str:
    """Return a prompt up to the assistant's first turn behind the first human one."""
    end = prompt.find(roles.assistant, max(0, prompt.find(roles.human)))
    return prompt if end < 0 else prompt[:end]


def _first_answer(messages: list[Message]) -> int:
    """Return the index of the first assistant turn behind the first user turn."""
    kinds = [message["role"] for message in messages]
    asked = kinds.index("user") if "user" in kinds else 0
    return kinds.index("assistant", asked) if "assistant" in kinds[asked:] else len(kinds)


def _messages(column: str, value: Any) -> list[Message]:
    """Check that a column holds messages.

    Raises:
        ValueError: if it does not.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f"'{column}' must be text or a list of messages, got {_kind(value)}")
    for turn in value:
        if not isinstance(turn, Mapping) or not all(
            isinstance(turn.get(key), str) for key in ("role", "content")
        ):
            raise ValueError(f"every message of '{column}' must have a role and a content, both text")
    return [{"role": turn["role"], "content": turn["content"]} for turn in value]


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else type(value).__name__


def _no_column(name: str, columns: Mapping[str, Any]) -> str:
    near = get_close_matches(name, columns, n=1, cutoff=0.5)
    hint = f"the nearest is '{near[0]}'" if near else f"there are {', '.join(columns) or 'none'}"
    return f"there is no column '{name}'; {hint}"
