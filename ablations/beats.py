"""How running trials say that they are alive and how far they are, and who has fallen silent.

Optuna's own heartbeat knows relational databases only. This one works with each storage: where trials
are in a journal file, in a small file beside it, so that the journal does not grow; else in an
attribute of the trial. Silence is measured by the listener's clock, from when it last heard
something new, so that machines whose clocks differ do not take each other for dead.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from workbench.locks import write_whole

KEY = "beat"


@dataclass(frozen=True)
class Beat:
    """A sign of life.

    Attributes:
        count: of signs that this claim has given.
        done: iterations done.
        at: seconds since 1970 by the sender's clock, to tell a reader how long ago.
    """

    count: int = 0
    done: int = 0
    at: float = 0.0


class Beats(Protocol):
    """Where signs of life are kept; one is due every `seconds`."""

    seconds: float

    def give(self, trial_id: int, file: Path, beat: Beat) -> None:
        """Write down a sign of life."""
        ...

    def read(self, trial: FrozenTrial, file: Path) -> Beat:
        """Return the last one; the empty one if there is none."""
        ...


class FileBeats:
    """Signs of life in small files, for processes that share a disk."""

    seconds = 0.5

    def give(self, trial_id: int, file: Path, beat: Beat) -> None:
        """Replace the file; a full disk costs the sign and not the training."""
        with suppress(OSError):
            write_whole(file, {"trial": trial_id, **vars(beat)})

    def read(self, trial: FrozenTrial, file: Path) -> Beat:
        """Read the file; what an earlier trial of the cell left behind says how far it got."""
        content = read_json(file)
        beat = _beat(content)
        return beat if content.get("trial") == trial._trial_id else Beat(done=beat.done)


@dataclass
class AttributeBeats:
    """Signs of life as an attribute of the trial, for processes that share a database only."""

    storage: BaseStorage
    seconds: float = 5.0

    def give(self, trial_id: int, file: Path, beat: Beat) -> None:
        """Set the attribute; an ended trial takes none, which the caller sees by its state."""
        self.storage.set_trial_user_attr(trial_id, KEY, vars(beat))

    def read(self, trial: FrozenTrial, file: Path) -> Beat:
        """Read the attribute."""
        return _beat(trial.user_attrs.get(KEY, {}))


@dataclass
class Listener:
    """Notes when it last heard something new of each trial, by a clock of its own.

    However long ago it listened before, that counts as half of the grace at most. While a storage was
    locked or away nobody could be heard, and afterwards everybody has the other half to speak up.

    Attributes:
        grace_seconds: silence after which a trial's process is taken for dead.
    """

    grace_seconds: float
    _heard: dict[int, tuple[int, float]] = field(default_factory=dict, init=False)
    _listened: float = field(default=0.0, init=False)
    _last: float = field(default_factory=time.monotonic, init=False)

    def listen(self) -> None:
        """Say that all signs of life that there are have just been read."""
        now = time.monotonic()
        self._listened += min(now - self._last, self.grace_seconds / 2)
        self._last = now

    def is_silent(self, trial_id: int, beat: Beat) -> bool:
        """Say whether nothing new was heard for too long."""
        count, since = self._heard.get(trial_id, (-1, self._listened))
        if beat.count != count:
            self._heard[trial_id] = (beat.count, self._listened)
            return False
        return self._listened - since > self.grace_seconds


def read_json(path: Path) -> dict[str, Any]:
    """Read a small file that `write_whole` wrote; empty if it is not there.

    Raises:
        ValueError: if it is damaged, which `write_whole` does not leave behind.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ValueError(f"{path} is damaged; restore it, or delete {path.parent}") from None
    return content


def _beat(content: Mapping[str, Any]) -> Beat:
    return Beat(**{key: content[key] for key in vars(Beat()) if key in content})
