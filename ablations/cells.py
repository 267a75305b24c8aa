"""A cell is one arm with one seed: one run in MLflow, one folder with checkpoints."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One arm with one seed.

    Attributes:
        arm: name of the arm.
        seed: the same in every arm, so that arms are paired.
    """

    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the MLflow run, and of the cell in Optuna's attributes."""
        return f"{self.arm}/s{self.seed}"

    @property
    def folder_name(self) -> str:
        """Name of the folder with its checkpoints."""
        return f"{self.arm}-s{self.seed}"
