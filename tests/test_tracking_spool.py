"""A run's spool: every step once, nothing half-written, one process at a time."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench.checkpoint import CheckpointError, Record
from workbench.locks import LockedError
from workbench.tracking import spool as module
from workbench.tracking.spool import NAME, Entry, held_spool, open_spool, read
from workbench.tracking.store import Store, default_store, store_address, store_at


def record(step: int, value: float = 0.0) -> Record:
    return step, {"reward/proxy": value}


def written(folder: Path) -> list[Entry]:
    return [entry for entry, _ in read(folder / NAME)]


def steps(folder: Path) -> list[int]:
    return [entry["step"] for entry in written(folder) if entry["kind"] == "step"]


def test_entries_are_read_as_they_were_written(folder: Path) -> None:
    with open_spool(folder, "mine") as spool:
        spool.write("open", {"run": "mine", "name": "vanilla/s0"})
        spool.log([record(0, 0.1 + 0.2), (1, {"reward/gap": float("nan")})])
        spool.flush()
    opening, first, second = written(folder)
    assert (opening["kind"], opening["name"]) == ("open", "vanilla/s0")
    assert first["metrics"] == {"reward/proxy": 0.1 + 0.2}
    assert second["metrics"]["reward/gap"] != second["metrics"]["reward/gap"]
    assert opening["time"] <= first["time"] <= second["time"]


def test_of_a_step_that_is_done_again_the_first_counts(folder: Path) -> None:
    with open_spool(folder, "mine") as spool:
        spool.log([record(0), record(1, 1.0)])
    with open_spool(folder, "mine") as spool:  # resumed from a checkpoint before step 1
        assert spool.last_step == 1
        spool.log([record(1, 2.0)])
        spool.log([record(2)])
    assert [(entry["step"], entry["metrics"]["reward/proxy"]) for entry in written(folder)] == [
        (0, 0.0), (1, 1.0), (2, 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize("rest", [b'{"kind": "step", "st', b'{"kind": "step"}', b"\0\0\0\0", b"\0\0\n"])
def test_a_last_line_that_a_crash_cut_off_is_cut_away(folder: Path, rest: bytes) -> None:
    with open_spool(folder, "mine") as spool:
        spool.log([record(0), record(1)])
    whole = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(whole + rest)
    assert steps(folder) == [0, 1]  # as the uploader reads it, before anybody repairs it
    with open_spool(folder, "mine") as spool:
        spool.log([record(2)])
    assert (folder / NAME).read_bytes().startswith(whole)
    assert steps(folder) == [0, 1, 2]


def test_reading_goes_on_from_a_position(folder: Path) -> None:
    with open_spool(folder, "mine") as spool:
        spool.log([record(0), record(1)])
        ends = [end for _, end in read(spool.path)]
        spool.log([record(2)])
        assert [entry["step"] for entry, _ in read(spool.path, ends[0])] == [1, 2]
        assert [entry["step"] for entry, _ in read(spool.path, ends[1])] == [2]


def test_a_spool_of_another_run_is_refused(folder: Path) -> None:
    with open_spool(folder, "mine") as spool:
        spool.write("open", {"run": "mine"})
    message = rf"belongs to a run with other settings; delete {folder} to start anew$"
    with pytest.raises(CheckpointError, match=message), open_spool(folder, "other"):
        pass


def test_a_spool_that_is_held_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SYNC_SECONDS", 0.1)
    with open_spool(folder, "mine"):
        with pytest.raises(LockedError, match="in the hands of process"), held_spool(folder):
            pass
        with pytest.raises(CheckpointError, match="wait for it to end"), open_spool(folder, "mine"):
            pass
    with held_spool(folder):
        pass


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse to write behind a position: the write that reaches it is cut off."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(folder: Path) -> None:
    with open_spool(folder, "mine") as spool:
        spool.log([record(0)])
        size = spool.path.stat().st_size
        message = rf"^cannot write {spool.path}: File too large; make room [^\n]*$"
        for _ in range(2):
            with largest_file(size + 10), pytest.raises(CheckpointError, match=message):
                spool.log([record(1)])
            assert spool.path.stat().st_size == size
        spool.log([record(1), record(2)])  # there is room again
    assert steps(folder) == [0, 1, 2]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = r"^cannot write .*: Not a directory; [^\n]*$"
    with pytest.raises(CheckpointError, match=message), open_spool(tmp_path / "file" / "run", "mine"):
        pass


def test_errors_of_the_training_are_not_taken_for_errors_of_the_spool(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the model"), open_spool(folder, "mine"):
        raise FileNotFoundError("the model")


def test_a_store_is_found_again_when_home_and_spool_move_together(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "somewhere" / "new"
    address = store_address(default_store(old), old / "train" / "run")
    assert store_at(address, new / "train" / "run") == default_store(new)


def test_a_server_is_found_wherever_the_spool_moves(tmp_path: Path) -> None:
    store = Store("http://host:5000", tmp_path / "artifacts")
    assert store_at(store_address(store, tmp_path / "run"), tmp_path / "elsewhere").uri == store.uri
