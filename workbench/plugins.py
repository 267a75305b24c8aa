"""Tricks from outside the package: files that a user names, and packages that were installed for it.

A file is named by `--plugin my_trick.py` or by `plugins:` in a study file; an installed package has an
entry point of the group `workbench.tricks` that names a trick's class, or a module of tricks. Nothing
else is ever loaded. A plugin's tricks are every public class of it whose base is a slot.
"""

import hashlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from workbench.errors import one_sentence
from workbench.names import no_file, unknown
from workbench.trick import SLOTS, Trick

GROUP = "workbench.tricks"
"""Group of entry points under which an installed package offers tricks."""

_files: dict[Path, "Plugin"] = {}
_hashes: dict[type[Trick], str] = {}


@dataclass(frozen=True, eq=False)
class Plugin:
    """Tricks from one place outside the package.

    Attributes:
        place: the file or the entry point, for error messages.
        hash: of the source, so that an edited trick is another trick.
        tricks: in the order in which they are defined.
    """

    place: str
    hash: str
    tricks: tuple[type[Trick], ...]


@contextmanager
def all_or_none() -> Iterator[None]:
    """Forget the files that were loaded inside if an error leaves it."""
    before = dict(_files)
    try:
        yield
    except Exception:
        _files.clear()
        _files.update(before)
        raise


def load_file(path: Path) -> None:
    """Run a file and keep its tricks, unless that was done and the file is as it was.

    Raises:
        FileNotFoundError: if the file is not there, with the nearest that is.
        ValueError: if it cannot be run, or defines no trick.
    """
    if not path.is_file():
        raise FileNotFoundError(f"plugin: {no_file(path)}")
    source = path.read_bytes()
    known = _files.get(path)
    if known is None or known.hash != _hash(source):
        module = _run(path, source)
        _files[path] = _plugin(f"plugin {path}", module, source)


def loaded() -> tuple[Plugin, ...]:
    """Return what is loaded: first installed packages, then files in the order of loading."""
    return (*_installed(), *_files.values())


def source_hash(kind: type[Trick]) -> str | None:
    """Return the hash of a plugin trick's source: 12 hex digits; None for a trick of this package."""
    return _hashes.get(kind)


def _run(path: Path, source: bytes) -> ModuleType:
    """Run a file as a module; it is compiled here, as Python's cache would miss a quick edit."""
    name = f"workbench_plugin_{_hash(str(path).encode())}.{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except SyntaxError as error:
        raise ValueError(f"plugin {path}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"plugin {path} cannot be imported: {one_sentence(error)}") from error
    return module


@cache
def _installed() -> tuple[Plugin, ...]:
    return tuple(_of_entry_point(point) for point in entry_points(group=GROUP))


def _of_entry_point(point: EntryPoint) -> Plugin:
    place = f"entry point {point.name} = {point.value}"
    try:
        target = point.load()
    except Exception as error:
        raise ValueError(f"{place} cannot be loaded: {one_sentence(error)}") from error
    files = {inspect.getsourcefile(kind) for kind in _tricks(target)}
    return _plugin(
        place, target, b"".join(Path(file).read_bytes() for file in sorted(filter(None, files)))
    )


def _plugin(place: str, target: object, source: bytes) -> Plugin:
    """Take the tricks of a module, or the one class, and note the hash of their source."""
    found = dict.fromkeys(_tricks(target))
    if not found:
        raise ValueError(f"{place} defines no trick: no class whose base is a slot of workbench.trick")
    for kind in found:
        if kind.slot not in SLOTS:
            raise ValueError(f"{place}: {unknown('slot', kind.slot, SLOTS)}")
        _hashes[kind] = _hash(source)
    return Plugin(place, _hash(source), tuple(found))


def _tricks(target: object) -> Iterator[type[Trick]]:
    if not isinstance(target, ModuleType):
        if _is_trick(target):
            yield target  # type: ignore[misc]
        return
    for name, member in vars(target).items():
        if _is_trick(member) and not name.startswith("_"):
            if f"{member.__module__}.".startswith(f"{target.__name__}."):
                yield member


def _is_trick(member: object) -> bool:
    return isinstance(member, type) and issubclass(member, Trick) and hasattr(member, "slot")


def _hash(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()[:12]
