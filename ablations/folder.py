"""The folder of a study: what was agreed on, checkpoints, signs of life, the report."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.beats import read_json
from ablations.cells import Cell
from ablations.outline import Outline
from workbench.locks import LockedError, holder, is_held, try_to_hold, write_whole
from workbench.names import unknown

if TYPE_CHECKING:
    from workbench.stages.prepare import Prepared


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study below the home folder: what was agreed on, checkpoints, the report.

    Attributes:
        home: where everything lies.
        name: of the study.
    """

    home: Path
    name: str

    @property
    def path(self) -> Path:
        """The study's folder."""
        return self.home / "studies" / self.name

    @property
    def file(self) -> Path:
        """What the study's processes agreed on."""
        return self.path / "study.json"

    @property
    def journal(self) -> Path:
        """Optuna's journal."""
        return self.path / "journal.log"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    def cell(self, cell: Cell) -> Path:
        """Folder of one cell: checkpoints, and in the end the policy."""
        return self.path / "cells" / cell.folder_name

    def tidy(self, cell: Cell) -> None:
        """Remove what a done cell needs no longer, and what killed processes left half-written."""
        folder = self.cell(cell)
        for checkpoint in folder.glob("checkpoint-*"):
            checkpoint.unlink(missing_ok=True)
        for partial in folder.glob(".partial-*"):
            shutil.rmtree(partial, ignore_errors=True)

    def beat(self, unit: str) -> Path:
        """File with the last sign of life of whoever trains a cell, or a proposed recipe."""
        return self.path / "beats" / f"{unit.replace('/', '-')}.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study, so that two starts of it on one disk do not meet.

        Raises:
            LockedError: if it is running, with the process that runs it.
        """
        path = self.path / "study.lock"
        file = try_to_hold(path)
        if file is None:
            raise LockedError(
                f"study {self.name} is already running as process {holder(path)};"
                f" see `workbench status {self.name}`, or join it with `workbench worker {self.name}`"
            )
        with file:
            yield

    @property
    def is_locked(self) -> bool:
        """Whether some process runs the study."""
        return is_held(self.path / "study.lock")

    def outline(self) -> Outline:
        """Return what the study consists of.

        Raises:
            FileNotFoundError: if the study was not begun.
        """
        content = read_json(self.file)
        if not content:
            raise FileNotFoundError(f"study {self.name} was not begun; run `workbench ablate` first")
        return Outline.of(content)

    def write_prepared(self, prepared: "Prepared", start: Mapping[str, Any], seconds: float) -> None:
        """Keep what the workers start from; paths below the home folder stay relative to it."""
        folders = {name: str(_below(self.home, path)) for name, path in prepared.folders.items()}
        facts = {"start": dict(start), "seconds": seconds}
        content = {**asdict(prepared), **folders, "facts": {**prepared.facts, **facts}}
        write_whole(self.path / "prepared.json", content)

    def read_prepared(self) -> "Prepared | None":
        """Return the models that all arms share, or None if they are not prepared or were deleted."""
        from workbench.stages.prepare import Prepared

        content = read_json(self.path / "prepared.json")
        if not content:
            return None
        folders = {name: self.home / content[name] for name in MODELS if content.get(name)}
        if not all(folder.is_dir() for folder in folders.values()):
            return None
        return Prepared(**{**content, **folders})


MODELS = ("base", "sft", "reward_model", "judge")


def find_study(home: Path, name: str) -> StudyFolder:
    """Return the folder of a study that was begun.

    Raises:
        FileNotFoundError: if there is none of this name, with the nearest.
    """
    known = [path.parent.name for path in (home / "studies").glob("*/study.json")]
    if not known:
        raise FileNotFoundError(f"unknown study '{name}': none was begun in {home}; see --home")
    if name not in known:
        raise FileNotFoundError(unknown("study", name, known, where=str(home)))
    return StudyFolder(home, name)


def _below(home: Path, path: Path) -> Path:
    return path.relative_to(home) if path.is_relative_to(home) else path.resolve()
