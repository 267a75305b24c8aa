"""Numbers as pages write them: 0.28 [0.01, 0.56], 6 of 10 [26 %, 88 %]."""

import re

INTERVAL = re.compile(r"\[(−?\d[\d.]*)( %)?, (−?\d[\d.]*)( %)?\]")
NUMBER = re.compile(r"(−?\d[\d.]*)( %)?")


def is_shown_as(value: float, digits: str, percent: str | None = "") -> bool:
    """Return whether a value rounds to what is written."""
    scale = 0.01 if percent else 1.0
    decimals = len(digits.partition(".")[2])
    return abs(value - scale * as_number(digits)) <= 0.5001 * scale * 10**-decimals


def is_interval(low: float, high: float, written: re.Match[str]) -> bool:
    """Return whether ends round to those of an interval that INTERVAL found."""
    percent = written[2] or written[4]
    return is_shown_as(low, written[1], percent) and is_shown_as(high, written[3], percent)


def as_number(digits: str) -> float:
    """Read a number with a minus sign as pages write it."""
    return float(digits.replace("−", "-"))
