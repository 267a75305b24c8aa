"""Which cells a study consists of. A cell is one arm with one seed: one trial, one MLflow run."""

from dataclasses import dataclass

from ablations.study import Study
from workbench.recipe import Recipe


@dataclass(frozen=True)
class Cell:
    """One arm with one seed.

    Attributes:
        arm: name of the arm.
        seed: the same in every arm, so that arms are paired.
        recipe: the arm's tricks.
    """

    arm: str
    seed: int
    recipe: Recipe

    @property
    def name(self) -> str:
        """Name of the MLflow run, and of the trial in Optuna's attributes."""
        return f"{self.arm}/s{self.seed}"

    @property
    def folder_name(self) -> str:
        """Name of the folder with its checkpoints."""
        return f"{self.arm}-s{self.seed}"


def named_arms(study: Study) -> list[Cell]:
    """Return arm × seed, seed by seed, so that the first results already compare all arms."""
    return [Cell(arm, seed, recipe) for seed in study.seeds for arm, recipe in study.recipes.items()]
