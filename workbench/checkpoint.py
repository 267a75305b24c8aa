"""Checkpoints of a PPO run: one safetensors file, written whole or not at all, the last two kept.

Random numbers are named by seed and iteration (`workbench.seeding`), so there is no random state to
save: weights, optimiser moments, trick state and the iteration are all of it, and a resumed run
equals the run that never stopped, bit for bit on a CPU; on a GPU some sums have no fixed order.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

if TYPE_CHECKING:
    from workbench.stages.ppo import Ppo

KEPT = 2
TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL",
}  # fmt: skip
"""Names of types in safetensors files."""
Record = tuple[int, dict[str, float]]
"""The metrics logged at one step."""


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        run: fingerprint of everything that decides the run's numbers.
        iteration: iterations done.
        history: every record so far.
    """

    run: str
    iteration: int
    history: list[Record]


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or does not belong to the run."""


def save_checkpoint(folder: Path, ppo: "Ppo", progress: Progress) -> Path:
    """Write a checkpoint atomically and drop all but the last two.

    Raises:
        CheckpointError: if the disk is full or the folder cannot be written; nothing is lost then.
    """
    path = folder / f"checkpoint-{progress.iteration:06d}.safetensors"
    partial = path.with_suffix(".partial")
    text = json.dumps(
        {"run": progress.run, "iteration": progress.iteration, "history": progress.history}
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            _write(file, dict(_tensors(ppo)), {"progress": text})
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):  # it may be the folder itself that is in the way
            partial.unlink()
        raise cannot_write(path, error) from error
    for old in _checkpoints(folder)[KEPT:]:
        old.unlink()
    return path


def _write(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, one tensor at a time.

    The library's `save` holds the file in memory, and its `save_file` a copy of all that is on a GPU.

    Source: the format of github.com/huggingface/safetensors; wide types first, so that all are aligned.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        kind = TYPES[tensor.dtype]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, tensor in ordered:
        file.write(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)


def cannot_write(path: Path, error: OSError | SafetensorError) -> CheckpointError:
    """Say that a file cannot be written, and what to do."""
    return CheckpointError(
        f"cannot write {path}: {getattr(error, 'strerror', None) or error};"
        " make room or make the folder writable, then run the same command again"
    )


def load_checkpoint(folder: Path, ppo: "Ppo", run: str) -> Progress | None:
    """Restore the newest whole checkpoint of this run, or return None if there is none.

    Raises:
        CheckpointError: if the checkpoint belongs to a run with other settings.
    """
    for path in _checkpoints(folder):
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                saved: dict[str, Any] = json.loads(file.metadata()["progress"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, OSError):
            continue  # cut short by a crash; the one before it is whole
        if saved["run"] != run:
            raise CheckpointError(
                f"{path} belongs to a run with other settings; delete {folder} to start anew"
            )
        _restore(ppo, tensors)
        history = [(int(step), metrics) for step, metrics in saved["history"]]
        return Progress(run, saved["iteration"], history)
    return None


def last_iteration(folder: Path) -> int:
    """Return the iterations that the newest checkpoint has kept, 0 if there is none."""
    names = [path.stem for path in _checkpoints(folder)[:1]]
    return int(names[0].rpartition("-")[2]) if names else 0


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.safetensors"), reverse=True)


def _tensors(ppo: "Ppo") -> Iterator[tuple[str, Tensor]]:
    for owner, name, parameter in _parameters(ppo):
        yield f"{owner}/{name}", parameter.detach()
    for index, moments in ppo.optimiser.state_dict()["state"].items():
        for key, value in moments.items():
            yield f"optimiser/{index}/{key}", value
    for trick, states in ppo.recipe.state_dict().items():
        for field_name, parts in states.items():
            for key, value in parts.items():
                yield f"recipe/{trick}/{field_name}/{key}", value


def _parameters(ppo: "Ppo") -> Iterator[tuple[str, str, Tensor]]:
    """Yield every parameter that a run changes once, under its first owner's name."""
    seen: set[int] = set()
    for owner, module in ppo.models.changing():
        for name, parameter in module.named_parameters():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield owner, name, parameter


def _restore(ppo: "Ppo", tensors: dict[str, Tensor]) -> None:
    for owner, name, parameter in _parameters(ppo):
        parameter.data.copy_(tensors[f"{owner}/{name}"])
    optimiser = ppo.optimiser.state_dict()
    optimiser["state"] = {
        int(index): {key: value for (key,), value in moments.items()}
        for index, moments in _grouped(tensors, "optimiser").items()
    }
    ppo.optimiser.load_state_dict(optimiser)
    device = ppo.accelerator.device
    recipe: dict[str, dict[str, dict[str, Tensor]]] = {}
    for trick, parts in _grouped(tensors, "recipe").items():
        for (field_name, key), value in parts.items():
            recipe.setdefault(trick, {}).setdefault(field_name, {})[key] = value.to(device)
    ppo.recipe.load_state_dict(recipe)


def _grouped(tensors: dict[str, Tensor], owner: str) -> dict[str, dict[tuple[str, ...], Tensor]]:
    """Group `owner/<group>/<rest…>` by group, with the rest as a tuple of names."""
    groups: dict[str, dict[tuple[str, ...], Tensor]] = {}
    for name, tensor in tensors.items():
        first, *rest = name.split("/")
        if first == owner:
            groups.setdefault(rest[0], {})[tuple(rest[1:])] = tensor
    return groups
