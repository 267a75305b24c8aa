"""Folders of made models under a hash of what went in: made once, whole or not at all."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.locks import held
from workbench.parallel import is_main

FORMAT = 1
"""Part of every hash: raise it when a stage's code changes what it makes."""
POLL_SECONDS = 0.2

Make = Callable[[Path], dict[str, Any]]
"""Saves a model into a folder, and returns what is known of it."""


@dataclass(frozen=True)
class ModelCache:
    """Where made models lie.

    Attributes:
        folder: of the cache.
        tokenizer: saved beside every model.
    """

    folder: Path
    tokenizer: Any

    def made(self, stage: str, key: str, make: Make) -> Path:
        """Return the folder of a stage's model, made if it is not there.

        It is made under a temporary name and moved into place when it is whole. Processes that want the
        same model wait for each other; of several that train together the main one makes it.

        Args:
            stage: first part of the folder's name.
            key: `hash_of` all that goes in.
            make: makes it.
        """
        final = self.folder / f"{stage}-{key}"
        while not is_main() and not final.is_dir():
            time.sleep(POLL_SECONDS)
        if final.is_dir():
            return final
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / f".making-{stage}-{key}"
        with held(lock):  # workers of one seed want the same models
            try:
                if not final.is_dir():
                    self._make(final, make)
            finally:
                lock.unlink(missing_ok=True)  # who waits for it finds the models made
        return final

    def _make(self, final: Path, make: Make) -> None:
        partial = final.with_name(f".partial-{final.name}-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had our number
        partial.mkdir()
        try:
            facts = make(partial)
            self.tokenizer.save_pretrained(partial)
            (partial / "stage.json").write_text(json.dumps(facts, indent=1))
            partial.rename(final)
        except OSError:
            if not final.is_dir():  # otherwise another process was faster, with the same result
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def facts_of(folder: Path) -> dict[str, Any]:
    """Read what is known of a made model."""
    facts: dict[str, Any] = json.loads((folder / "stage.json").read_text())
    return facts


def hash_of(content: Any) -> str:
    """Hash settings, texts and names of folders."""
    text = json.dumps([FORMAT, content], sort_keys=True, default=asdict)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_of_model(path: str) -> str:
    """Hash the weights and configuration of a local folder; a hub name stands for itself."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return path
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
