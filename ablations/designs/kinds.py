"""The designs that a study file can ask for: each generates arms around one published recipe."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import combinations, product
from math import prod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, model_validator

from ablations.arms import Arm
from ablations.designs.draws import Attempt, draw_arms
from ablations.designs.factors import Factor, make_factor, of_trick, recipe_tricks, refuse_dependent
from ablations.designs.fractions import Fraction, fraction
from ablations.designs.keys import Factors, Tricks
from ablations.designs.levels import Level, arm_name, combine
from workbench.names import unknown
from workbench.recipe import Recipe, no_trick
from workbench.recipes import find_recipe
from workbench.settings import Settings, sentence
from workbench.tricks import TEXTBOOK

MOST_ARMS = 4096
"""A design of more arms is a slip of the pen."""


class Design(Settings):
    """Arms around one recipe.

    Its arms are points in a space of factors; an arm is named after what it changes, so its name stays
    when the design grows.
    """

    answers: ClassVar[str]
    recipe: str = Field(description="name of the published recipe that is varied")

    @property
    def base(self) -> Recipe:
        """The recipe that is varied."""
        return find_recipe(self.recipe)

    @cached_property
    def varied(self) -> list[Factor]:
        """What is varied, in the order of the file."""
        raise TypeError(f"{type(self).__name__} does not define varied")

    @property
    def points(self) -> Iterable[Sequence[Level]]:
        """The levels of each arm, the recipe itself first where it is one of the arms."""
        raise TypeError(f"{type(self).__name__} does not define points")

    @property
    def fraction(self) -> Fraction | None:
        """What part of all combinations is run, if it is a regular part."""
        return None

    def arms(self, attempt: Attempt) -> Iterator[tuple[str, Arm]]:
        """Yield the arms with their names.

        Args:
            attempt: raises ValueError for a recipe that cannot be run.
        Raises:
            ValueError: for unknown names, tricks that contradict each other, or too many arms.
        """
        for levels in self.points:
            yield arm_name(self.recipe, levels), combine(self.recipe, levels)


class OneAtATime(Design):
    """The recipe, and each factor changed alone."""

    @property
    def points(self) -> Iterable[Sequence[Level]]:
        """Nothing changed, then one trick at a time."""
        return [(), *((factor.changed,) for factor in self.varied)]


class LeaveOneOut(OneAtATime):
    """The recipe, and the recipe without each of its tricks."""

    answers = "what does each trick contribute, with all the others there?"
    kind: Literal["leave_one_out"]
    tricks: Tricks | None = Field(None, description="which; all that can be left out if absent")

    @cached_property
    def varied(self) -> list[Factor]:
        """The tricks that are left out."""
        own = recipe_tricks(self.base)
        names = self.tricks or [name for name in own if name not in TEXTBOOK]
        for name in names:
            if name not in own:
                raise ValueError(no_trick(name, own, self.recipe))
        return [of_trick(self.base, name, number) for number, name in enumerate(names, 1)]


class AddOneIn(OneAtATime):
    """The recipe, and the recipe with each of some other tricks added."""

    answers = "what does each trick contribute on its own?"
    kind: Literal["add_one_in"]
    tricks: Tricks | None = Field(None, description="which; all that `from` has and the recipe lacks")
    from_: str | None = Field(None, alias="from", description="recipe that says how they are set")

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.tricks is None and self.from_ is None:
            raise ValueError("it should say which tricks: 'tricks: [..]', or 'from' and a recipe")
        return self

    @cached_property
    def varied(self) -> list[Factor]:
        """The tricks that are added."""
        own = recipe_tricks(self.base)
        source = find_recipe(self.from_) if self.from_ else None
        offered = recipe_tricks(source) if source else []
        names = self.tricks or [name for name in offered if name not in own]
        if not names:
            raise ValueError(f"recipe {self.recipe} has every trick of recipe {self.from_}")
        for name in names:
            if name in own:
                raise ValueError(f"recipe {self.recipe} has {name} already")
            if source and name not in offered:
                raise ValueError(no_trick(name, offered, source.name))
        return [of_trick(self.base, n, number, source=source) for number, n in enumerate(names, 1)]


class Pairwise(Design):
    """The recipe, some tricks changed alone, and each two of them together."""

    answers = "do two tricks together do what they do alone?"
    kind: Literal["pairwise"]
    tricks: Tricks = Field(description="each is left out where the recipe has it, else added")

    @cached_property
    def varied(self) -> list[Factor]:
        """The tricks that are left out or added."""
        return [of_trick(self.base, name, number) for number, name in enumerate(self.tricks, 1)]

    @property
    def points(self) -> Iterable[Sequence[Level]]:
        """Nothing changed, then one trick at a time, then two."""
        changed = [factor.changed for factor in self.varied]
        return [(), *combinations(changed, 1), *combinations(changed, 2)]


class Grid(Design):
    """Every combination of some values."""

    answers = "how does the outcome depend on these values?"
    kind: Literal["grid"]
    values: Factors = Field(description="`trick: [true, false]`, `trick.field: [..]`, `group: [tricks]`")

    @cached_property
    def varied(self) -> list[Factor]:
        """The axes of the grid."""
        return _factors(self.base, self.values)

    @property
    def points(self) -> Iterable[Sequence[Level]]:
        """All combinations, the last axis fastest."""
        _refuse_too_many(prod(len(factor.levels) for factor in self.varied))
        return product(*(factor.levels for factor in self.varied))


class TwoLevel(Design):
    """Factors of two levels each, which can be set independently."""

    factors: Factors = Field(
        validation_alias=AliasChoices("factors", "tricks"),
        description="`trick`, `trick.field: [low, high]`, or `group: [trick, other]`",
    )

    @cached_property
    def varied(self) -> list[Factor]:
        """The factors."""
        for name, levels in self.factors.items():
            if len(levels) != 2:
                raise ValueError(
                    f"{name}: a factor has two levels, got {len(levels)}; a grid takes any number"
                )
        factors = _factors(self.base, self.factors)
        refuse_dependent(factors)
        return factors


class Factorial(TwoLevel):
    """Every combination of factors of two levels each."""

    answers = "what does each factor do, alone and with the others?"
    kind: Literal["factorial"]

    @property
    def points(self) -> Iterable[Sequence[Level]]:
        """All combinations, the recipe's own levels first, the last factor fastest."""
        _refuse_too_many(2 ** len(self.varied))
        return product(*((factor.reference, factor.changed) for factor in self.varied))


class FractionalFactorial(TwoLevel):
    """A part of all combinations of factors of two levels, chosen so that effects stay apart."""

    answers = "what does each factor do, from a part of all combinations?"
    kind: Literal["fractional_factorial"]
    resolution: Literal[3, 4, 5] = Field(
        description="3: main effects apart; 4: from pairs too; 5: pairs from each other too"
    )

    @property
    def fraction(self) -> Fraction:
        """Columns of +1 for the recipe's own level and −1 for the other."""
        return fraction(len(self.varied), self.resolution)

    @property
    def points(self) -> Iterable[Sequence[Level]]:
        """The runs of the fraction; in the first all factors are at the recipe's own levels."""
        columns = self.fraction.columns
        _refuse_too_many(len(columns))
        return [
            [f.reference if sign > 0 else f.changed for f, sign in zip(self.varied, run, strict=True)]
            for run in columns
        ]


class Random(Design):
    """The recipe, and random sets of some tricks with random hyper-parameters."""

    answers = "what do good recipes have in common?"
    kind: Literal["random"]
    tricks: Tricks = Field(description="each is there or not; of one group, one or none is")
    count: int = Field(gt=0, le=MOST_ARMS, description="random recipes, besides the recipe itself")
    seed: int = Field(0, ge=0, description="another seed draws other recipes")

    @cached_property
    def varied(self) -> list[Factor]:
        """The tricks that are there or not."""
        present = (True,)
        return [
            of_trick(self.base, name, number, levels=present if name in TEXTBOOK else (False, True))
            for number, name in enumerate(self.tricks, 1)
        ]

    def arms(self, attempt: Attempt) -> Iterator[tuple[str, Arm]]:
        """Yield the recipe itself, and then as many others as are asked for, all different."""
        yield self.recipe, Arm(recipe=self.recipe)
        drawn = draw_arms(self.base, self.varied, self.seed, attempt)
        for number in range(1, self.count + 1):
            arm = next(drawn, None)
            if arm is None:
                raise ValueError(
                    f"{number - 1} different recipes were found and {self.count} asked for;"
                    " name more tricks, or lower count"
                )
            yield f"{self.recipe}.random_{number}", arm


KINDS: dict[str, type[Design]] = {
    "grid": Grid,
    "leave_one_out": LeaveOneOut,
    "add_one_in": AddOneIn,
    "pairwise": Pairwise,
    "factorial": Factorial,
    "fractional_factorial": FractionalFactorial,
    "random": Random,
}
AnyDesign = Annotated[
    Grid | LeaveOneOut | AddOneIn | Pairwise | Factorial | FractionalFactorial | Random,
    Field(discriminator="kind"),
]


def as_design(content: Any) -> Any:
    """Check a design by the keys of its own kind, so that an error names the nearest of those.

    Raises:
        ValueError: for any mistake, in one sentence.
    """
    if content is None or isinstance(content, Design):
        return content
    if not isinstance(content, dict) or "kind" not in content:
        raise ValueError(f"it should say its kind, one of {', '.join(KINDS)}")
    kind = str(content["kind"])
    if kind not in KINDS:
        raise ValueError(unknown("kind", kind, KINDS))
    try:
        return KINDS[kind].model_validate(content)
    except ValidationError as error:
        raise ValueError(sentence(error, kind)) from None


def _factors(base: Recipe, values: dict[str, list[Any]]) -> list[Factor]:
    return [make_factor(base, name, own, number) for number, (name, own) in enumerate(values.items(), 1)]


def _refuse_too_many(count: int) -> None:
    if count > MOST_ARMS:
        raise ValueError(f"{count:,} arms are more than the {MOST_ARMS:,} that a design may have")
