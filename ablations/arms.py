"""An arm: a published recipe, perhaps with some tricks changed, added or left out."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from workbench.names import unknown
from workbench.recipe import Recipe, by_trick
from workbench.registry import registry
from workbench.settings import Settings
from workbench.trick import Value

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"
"""Names of arms and studies; they become names of folders."""


def _as_name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise ValueError(
            f"it should begin with a letter or a digit, and have only these and . _ + -, got {text!r}"
        )
    return text


Name = Annotated[str, AfterValidator(_as_name)]


class Arm(Settings):
    """A recipe, perhaps with some tricks changed, added or left out."""

    model_config = ConfigDict(populate_by_name=True)

    recipe: str = Field(description="name of a published recipe: see `workbench recipes`")
    with_: dict[str, bool | int | float | str] = Field(
        {}, alias="with", description="`trick.field: value`, or `trick: true` to add it as it is"
    )
    without: list[str] = Field([], description="tricks to leave out")
    lender: str | None = Field(
        None,
        pattern=f"{NAME[:-1]}/{NAME[1:]}",
        description="`study/arm` in the same home whose runs are this arm's: nothing is trained again",
    )


def as_arm(arm: Any) -> Any:
    """Take a recipe's name for an arm that is this recipe.

    Raises:
        ValueError: if it is neither a name nor a mapping.
    """
    if not isinstance(arm, str | dict | Arm):
        raise ValueError(f"it should be a recipe's name, or recipe, with, without, got {arm!r}")
    return {"recipe": arm} if isinstance(arm, str) else arm


def change_recipe(recipe: Recipe, values: Mapping[str, Value], without: Sequence[str]) -> Recipe:
    """Return a recipe without some tricks and with others changed or added.

    Args:
        recipe: where to start.
        values: `trick.field` -> value, or `trick` -> True for a trick as it is.
        without: tricks to leave out.
    Raises:
        ValueError: for an unknown name, a value outside its domain, or tricks that exclude each other.
    """
    names = list(by_trick(values))
    for name in names:
        if name not in registry():
            raise ValueError(unknown("trick", name, registry()))
        if name in without:
            raise ValueError(f"{name} stands both in 'with' and in 'without'")
    _refuse_rivals(names)
    return recipe.without(*without).set(values)


def _refuse_rivals(names: Sequence[str]) -> None:
    by_group: dict[str, str] = {}
    for name in names:
        group = registry()[name].group
        if group and group in by_group:
            raise ValueError(
                f"{by_group[group]} and {name} exclude each other (group {group}); keep one of them"
            )
        by_group |= {group: name} if group else {}
