"""How study files write factors: lists of tricks, and settings by name."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field


def _as_values(values: Any) -> Any:
    if not isinstance(values, list) or not all(isinstance(v, bool | int | float | str) for v in values):
        raise ValueError(f"it should be a list of values, got {values!r}")
    return values


def _as_factors(factors: Any) -> Any:
    """Write a list as a mapping; a name alone is a trick, which is absent or present."""
    if not isinstance(factors, list):
        return factors
    written: dict[str, Any] = {}
    for factor in factors:
        if not isinstance(factor, str) and not (isinstance(factor, dict) and len(factor) == 1):
            raise ValueError(f"a factor is a trick, or 'trick.field: [low, high]', got {factor!r}")
        [(name, values)] = factor.items() if isinstance(factor, dict) else [(factor, [False, True])]
        if name in written:
            raise ValueError(f"{name} is given twice")
        written[name] = values
    return written


def _distinct(names: list[str]) -> list[str]:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"{name} is given twice")
    return names


Tricks = Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)]
"""Names of tricks, each once."""
Values = Annotated[list[bool | int | float | str], Field(min_length=1), BeforeValidator(_as_values)]
Factors = Annotated[dict[str, Values], Field(min_length=1), BeforeValidator(_as_factors)]
"""Settings by trick, `trick.field` or group."""
