"""Errors as one sentence."""

OURS = ("workbench", "ablations", "analysis")


def is_expected(error: BaseException) -> bool:
    """Say whether an error's message was written for the user: ours, wrong values, missing files."""
    package = type(error).__module__.partition(".")[0]
    return package in OURS or type(error) in (ValueError, FileNotFoundError)


def one_sentence(error: BaseException) -> str:
    """Say what went wrong in one line: the message, with the kind of error where that says more."""
    message = " ".join(str(error).split())
    text = message if message and is_expected(error) else f"{type(error).__name__}: {message}"
    return text if len(text) <= 500 else text[:499] + "…"
