"""What can be said of a study without loading its recipes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ablations.cells import Cell
from ablations.search.settings import Search


@dataclass(frozen=True)
class Outline:
    """What `study.json` says of a study, cheap to read: `status` has to answer at once.

    Attributes:
        name: of the study.
        arms: names, in the order of the study.
        seeds: that every arm runs with.
        iterations: of one run.
        retries: how often a failed cell is tried again.
        storage: address of the trials; None is the journal file.
        grace_seconds: silence after which a worker on another machine is taken for dead.
        tracking_uri: MLflow store; None is the home folder's own.
        command: what to type to go on.
        search: what a search is for; None for a study whose arms are known.
    """

    name: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    iterations: int
    retries: int
    storage: str | None
    grace_seconds: float
    tracking_uri: str | None
    command: str
    search: Search | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Outline":
        """Read it off the content of `study.json`."""
        study = content["study"]
        return cls(
            name=study["name"],
            arms=tuple(content["recipes"]),
            seeds=tuple(study["seeds"]),
            iterations=study["ppo"]["iterations"],
            retries=study["retries"],
            storage=content["storage"],
            grace_seconds=content["grace_seconds"],
            tracking_uri=content["tracking_uri"],
            command=content["command"],
            search=Search.model_validate(study["search"]) if study["search"] else None,
        )

    @property
    def runs(self) -> int:
        """Runs of the whole study."""
        return self.search.trials * len(self.seeds) if self.search else len(self.cells)

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Arm × seed by name, seed by seed, so that the first results already compare all arms."""
        cells = (Cell(arm, seed) for seed in self.seeds for arm in self.arms)
        return {cell.name: cell for cell in cells}
