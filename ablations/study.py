"""A study: which recipes, over which seeds, on which task. Every mistake in it is one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from ablations.arms import Arm, Name, as_arm, change_recipe
from ablations.designs.kinds import AnyDesign, as_design
from ablations.search.settings import FIRST, Search
from ablations.search.space import Space
from workbench.names import unknown
from workbench.recipe import Recipe
from workbench.recipes import find_recipe
from workbench.registry import load_plugins
from workbench.settings import (
    CollapseRule,
    PpoSettings,
    PrepareSettings,
    PruneSettings,
    Settings,
    TaskSettings,
)
from workbench.textbook import textbook_optimisation, textbook_sampling
from workbench.update_lines import UpdateLines


def _as_seeds(seeds: Any) -> Any:
    if isinstance(seeds, list):
        return seeds
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"it should be a number of seeds, or a list of them, got {seeds!r}")
    return list(range(seeds))


def as_paths(files: Any, folder: Path | None = None) -> Any:
    """Make the paths of plugins absolute, each once; `folder` is where relative ones start.

    Raises:
        ValueError: if it is no list of files.
    """
    files = [files] if isinstance(files, str) else files
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise ValueError(f"it should be a list of files, got {files!r}")
    start = folder or Path()
    return list(dict.fromkeys(str((start / Path(file).expanduser()).resolve()) for file in files))


@dataclass(frozen=True)
class Expansion:
    """What a study compares, spelled out.

    Attributes:
        arms: those of the file, then those of the design.
        recipes: the recipe of each arm, under the arm's name.
        designed: arms of the design, in its order; one of the file if that is the same recipe.
        twins: an arm that the design would generate, and the arm that is the same recipe already.
    """

    arms: Mapping[str, Arm]
    recipes: Mapping[str, Recipe]
    designed: tuple[str, ...]
    twins: tuple[tuple[str, str], ...]


class Study(Settings):
    """Arms that are compared over the same seeds, on the same task and the same prepared models."""

    name: Name = Field(description="of the MLflow experiment and the folder")
    question: str = Field("", description="what the study is to answer, in words")
    plugins: Annotated[list[str], BeforeValidator(as_paths)] = Field(
        [], description="files with tricks of your own, relative to the study file"
    )
    task: TaskSettings = TaskSettings()
    prepare: PrepareSettings = PrepareSettings()
    ppo: PpoSettings = PpoSettings()
    design: Annotated[AnyDesign | None, BeforeValidator(as_design)] = Field(
        None, description="generates arms: see docs/designs.md"
    )
    search: Search | None = Field(None, description="proposes recipes: see docs/designs.md")
    given_arms: dict[Name, Annotated[Arm, BeforeValidator(as_arm)]] = Field(
        {}, alias="arms", description="what is compared, by name"
    )
    given_baseline: str | None = Field(
        None, alias="baseline", description="arm that the others are compared with"
    )
    seeds: Annotated[list[int], BeforeValidator(_as_seeds)] = Field(
        [0, 1, 2, 3, 4], min_length=1, description="a number of seeds, or a list of them"
    )
    collapse: CollapseRule = Field(CollapseRule(), description="when a run counts as collapsed")
    prune: PruneSettings | None = Field(
        None,
        description="ends runs that have collapsed; by default none, as collapse is what a study of"
        " arms and seeds is to find",
    )
    retries: int = Field(
        0,
        ge=0,
        description="how often one command tries a cell again that failed; what failed for its"
        " settings fails again, so 0",
    )

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        load_plugins(self.plugins)
        if self.search and (self.given_arms or self.design):
            raise ValueError("a search stands alone; drop 'arms' and 'design', or 'search'")
        if not (self.given_arms or self.design or self.search):
            raise ValueError("it compares nothing: give it 'arms', or a 'design' that generates them")
        arms = self.expansion.arms
        if all(arm.lender for arm in arms.values()):
            raise ValueError("every arm is lent; give the study one of its own to train")
        if self.given_baseline is not None and self.given_baseline not in arms:
            raise ValueError(unknown("baseline", self.given_baseline, arms))
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds must be distinct and not negative, got {self.seeds}")
        return self

    @property
    def arms(self) -> Mapping[str, Arm]:
        """What is compared, by name: the arms of the file, then those of the design."""
        return self.expansion.arms

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """The recipe of each arm, under the arm's name."""
        return self.expansion.recipes

    @property
    def lent(self) -> Mapping[str, str]:
        """Arms whose runs are those of another study, and `study/arm` they come from."""
        return {name: arm.lender for name, arm in self.arms.items() if arm.lender}

    @property
    def baseline(self) -> str | None:
        """The arm that others are compared with: the file's choice, else the recipe that is varied."""
        if self.search:
            return FIRST
        if self.given_baseline or self.design is None:
            return self.given_baseline
        own = self.design.base.fingerprint()
        return next((arm for arm, recipe in self.recipes.items() if recipe.fingerprint() == own), None)

    @cached_property
    def expansion(self) -> Expansion:
        """All arms and their recipes; those that the design generates are each another recipe.

        Raises:
            ValueError: for a mistake in an arm or in the design.
        """
        arms = dict(self.given_arms)
        if self.search:
            arms = {FIRST: Arm(recipe=self.search.recipe)}
            self.space  # noqa: B018 - refuses what cannot be searched
        recipes = {name: self._resolve(name, arm) for name, arm in arms.items()}
        _refuse_twins(recipes)
        first = {recipe.fingerprint(): name for name, recipe in recipes.items()}
        designed, twins = [], []
        for name, arm in self._generated():
            recipe = self._resolve(name, arm)
            kept = first.setdefault(recipe.fingerprint(), name)
            if kept in recipes:
                twins.append((name, kept))
            else:
                arms[name], recipes[name] = arm, recipe
            designed.append(kept)
        return Expansion(arms, recipes, tuple(dict.fromkeys(designed)), tuple(twins))

    @cached_property
    def space(self) -> Space:
        """What a search may propose.

        Raises:
            ValueError: if this study is no search, or names what cannot be searched.
        """
        if self.search is None:
            raise ValueError(f"study {self.name} is no search")
        return Space(find_recipe(self.search.recipe), self.search, self._try)

    def _generated(self) -> list[tuple[str, Arm]]:
        if self.design is None:
            return []
        try:
            generated = list(self.design.arms(self._try))
        except ValueError as error:
            raise ValueError(f"design {self.design.kind}: {error}") from None
        for name, _ in generated:
            if name in self.given_arms:
                raise ValueError(f"arm {name} comes with the design; drop it from 'arms'")
        return generated

    def _resolve(self, name: str, arm: Arm) -> Recipe:
        try:
            recipe = change_recipe(find_recipe(arm.recipe), arm.with_, arm.without)
            self._try(recipe)
        except ValueError as error:
            raise ValueError(f"arm {name}: {error}") from None
        return Recipe(name, recipe.tricks)

    def _try(self, tricks: UpdateLines) -> None:
        """Let tricks refuse a rollout size that they do not divide."""
        sampling = tricks.sampling(textbook_sampling(self.ppo, self.ppo.rollout_size))
        tricks.optimisation(textbook_optimisation(self.ppo), sampling.buffer_size)


def _refuse_twins(recipes: Mapping[str, Recipe]) -> None:
    first: dict[str, str] = {}
    for name, recipe in recipes.items():
        twin = first.setdefault(recipe.fingerprint(), name)
        if twin != name:
            raise ValueError(f"arms {twin} and {name} are the same recipe; drop one of them")
