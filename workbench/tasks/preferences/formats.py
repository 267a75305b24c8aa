"""How a dialogue becomes text: by role markers, or by the chat template of a tokenizer."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Protocol

from workbench.names import unknown
from workbench.tasks.preferences.settings import RoleMarkers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]
"""One turn: its `role` (system, user or assistant) and its `content`."""

TODAY = date(2024, 7, 26)
"""What a chat template that asks for today's date is told, or the data would be others tomorrow."""
CALENDAR = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f" | replace('%{sign}', '{TODAY:%{sign}}')" for sign in (*"aAbBdHIjmMpSwyY", "-d", "-m"))
    + " }}{% endmacro %}\n"
)
"""Stands before a template, in place of the function of the same name that reads the clock."""


class Format(Protocol):
    """Writes a dialogue as a prompt that the model continues with its response."""

    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the text of the turns and the opening of the assistant's next turn."""

    def response(self, messages: Sequence[Message], prompt: str, answer: str) -> str:
        """Return what follows `prompt`, the text of `messages`, when the assistant says `answer`."""


class MarkedFormat:
    """Opens every turn by the marker of its role; a system message stands as it is."""

    def __init__(self, roles: RoleMarkers) -> None:
        self.markers = {"system": "", "user": roles.human, "assistant": roles.assistant}

    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the marked turns and the assistant's marker.

        Raises:
            ValueError: if a role has no marker.
        """
        return "".join(map(self._turn, messages)) + self.markers["assistant"]

    def response(self, messages: Sequence[Message], prompt: str, answer: str) -> str:
        """Return the answer, set off by a space."""
        return _spaced(self.markers["assistant"], answer)

    def _turn(self, message: Message) -> str:
        role = message["role"]
        if role not in self.markers:
            raise ValueError(unknown("role", role, self.markers))
        return self.markers[role] + _spaced(self.markers[role], message["content"])


class ChatFormat:
    """Writes dialogues by a tokenizer's chat template."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer

    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the rendered turns with the template's generation prompt.

        Raises:
            ValueError: if the template refuses the dialogue.
        """
        return self._render(messages, add_generation_prompt=True)

    def response(self, messages: Sequence[Message], prompt: str, answer: str) -> str:
        """Return what the template renders behind the prompt, up to the end token of the turn.

        Raises:
            ValueError: if the template refuses the dialogue, or rewrites the prompt.
        """
        turns = [*messages, {"role": "assistant", "content": answer}]
        text = self._render(turns, add_generation_prompt=False)
        if not text.startswith(prompt):
            raise ValueError("the tokenizer's chat template rewrites a prompt once it is answered")
        eos = str(self.tokenizer.eos_token)
        head, end, _ = text[len(prompt) :].rpartition(eos)
        while head.rstrip().endswith(eos):  # a template may end the turn, and then the dialogue
            head = head.rstrip().removesuffix(eos)
        return head if end else text[len(prompt) :]

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self.tokenizer.apply_chat_template(
                list(messages),
                chat_template=CALENDAR + self.tokenizer.get_chat_template(),
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        except TemplateError as error:
            raise ValueError(f"the tokenizer's chat template refuses a dialogue: {error}") from None
        return text


def _spaced(marker: str, content: str) -> str:
    return content if not marker or marker[-1].isspace() else f" {content}"
