"""Errors as one sentence."""

from typing import TypeGuard

OURS = ("workbench", "ablations", "analysis")
FULL_CARD = (
    "the GPU is full; with a smaller ppo.micro_batch_size, say --set ppo.micro_batch_size=2, models read"
    " fewer rows at a time, and with the trick experience_buffer fewer are sampled"
)


def is_expected(error: BaseException) -> bool:
    """Say whether an error's message was written for the user: ours, wrong values, missing files."""
    package = type(error).__module__.partition(".")[0]
    return package in OURS or type(error) in (ValueError, FileNotFoundError)


def is_plain(error: BaseException) -> bool:
    """Say whether an error's sentence is enough: it is expected, or about a file, room or lookup."""
    is_known = _is_of_a_file(error) or _is_of_a_full_card(error) or type(error) is LookupError
    return is_expected(error) or is_known


def one_sentence(error: BaseException) -> str:
    """Say what went wrong in one line: the message, with the kind of error where that says more."""
    message = " ".join(str(error).split())
    if _is_of_a_file(error):
        message = f"cannot use {error.filename}: {error.strerror}"
    if _is_of_a_full_card(error):
        message = f"{FULL_CARD} ({'. '.join(message.split('. ')[:2])})"
    text = message if message and is_plain(error) else f"{type(error).__name__}: {message}"
    return text if len(text) <= 500 else text[:499] + "…"


def _is_of_a_file(error: BaseException) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.filename is not None and bool(error.strerror)


def _is_of_a_full_card(error: BaseException) -> bool:
    kind = type(error)  # not imported, which takes a second; Ray has one of this name as well
    return (kind.__module__.partition(".")[0], kind.__name__) == ("torch", "OutOfMemoryError")
