"""What a study file says of a search."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.glossary import GLOSSARY
from workbench.names import unknown
from workbench.settings import Settings

Direction = Literal["maximize", "minimize"]
FIRST = "t0000"
"""The arm of the recipe around which to search; the others are called after their trials, too."""
COLLAPSED = "collapsed"
"""The constraint on the share of seeds that collapse."""
FINAL = (COLLAPSED, *(name for name in GLOSSARY if name.startswith("final/")))
"""What a recipe may be judged by."""


class Search(Settings):
    """A search around a recipe: TPE proposes recipes, and each is run with the same seeds."""

    recipe: str = Field(description="recipe around which to search; it is tried first")
    tricks: list[str] = Field(
        min_length=1, description="tricks that may come and go, and whose fields are searched"
    )
    ranges: dict[str, tuple[float, float]] = Field(
        {}, description="`trick.field: [low, high]`, instead of the trick's own search range"
    )
    trials: int = Field(ge=1, description="recipes to try, the first one included")
    objectives: dict[str, Direction] = Field(
        {"final/gold": "maximize"},
        min_length=1,
        description="final metrics, their mean over the seeds, each to maximize or minimize",
    )
    constraints: dict[str, float] = Field(
        {}, description="upper bounds on final metrics, and on `collapsed`, the share of seeds"
    )
    startup: Annotated[int, Field(ge=1)] = Field(
        10, description="recipes drawn at random before TPE proposes, and before any is given up"
    )
    give_up: bool = Field(
        True, description="leave out the other seeds of a recipe that half of the others beat in all"
    )
    seed: int = Field(0, ge=0, description="of the proposals")

    @property
    def judged_by_gold(self) -> list[str]:
        """What counts here that only a gold judge can tell."""
        named = [name for name in {**self.objectives, **self.constraints} if name != COLLAPSED]
        return [name for name in named if GLOSSARY[name].unit == "gold"]

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        for name in (*self.objectives, *self.constraints):
            if name not in FINAL:
                raise ValueError(unknown("final metric", name, FINAL))
        return self
