"""Read rows of preference data from files or the hub; every error is one sentence that says where."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.names import is_local, no_such
from workbench.tasks.preferences.settings import PreferencesSettings

Row = tuple[str, dict[str, Any]]
"""Where a row stands, for error messages, and its columns."""

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".parquet")
BATCH = 1024
"""Rows of a Parquet file held at once."""


def read_rows(settings: PreferencesSettings) -> Iterator[Row]:
    """Yield the rows of a file, of all data files of a folder, or of a hub data set.

    Raises:
        FileNotFoundError: if a local path is not there, with the nearest name that is.
        ValueError: if a file is of no known kind, empty or malformed, or the hub refuses.
    """
    if not _is_local(settings.data):
        yield from _hub_rows(settings)
        return
    if settings.subset or settings.split:
        raise ValueError(f"subset and split belong to hub data sets, but {settings.data} is local")
    for file in _files(settings.data):
        count = 0
        for count, row in enumerate(_file_rows(file), start=1):  # noqa: B007
            yield row
        if not count:
            raise ValueError(f"{file} is empty: it has no row of data")


def _is_local(name: str) -> bool:
    return is_local(name) or name.endswith(SUFFIXES)


def _files(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if not path.exists():
        raise FileNotFoundError(no_such("file or folder", name))
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))
        if not files:
            raise ValueError(f"the folder {name} has no file ending in {', '.join(SUFFIXES)}")
        return files
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{name} is of no known kind; data files end in {', '.join(SUFFIXES)}")
    return [path]


def _file_rows(file: Path) -> Iterator[Row]:
    if file.suffix == ".parquet":
        return _parquet_rows(file)
    return _csv_rows(file) if file.suffix == ".csv" else _json_rows(file)


def _lines(file: Path) -> Iterator[str]:
    """Yield the lines of a text file, packed by gzip or not."""
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8-sig", newline="") as stream:
            yield from stream
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text: {error.reason}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{file} is no whole gzip file: {error}") from None


def _json_rows(file: Path) -> Iterator[Row]:
    """Yield the objects of JSON lines, or of one JSON list."""
    lines = enumerate(_lines(file), start=1)
    for number, line in lines:
        if line.lstrip().startswith("[") and file.name.endswith((".json", ".json.gz")):
            rest = "".join([line, *(other for _, other in lines)])
            items = _parse(rest, str(file), first_line=number)
            yield from (_object(item, f"{file}, row {at}") for at, item in enumerate(items, start=1))
        elif line.strip():
            place = f"{file}, line {number}"
            yield _object(_parse(line, place), place)


def _parse(text: str, place: str, first_line: int = 0) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {first_line + error.lineno - 1}" if first_line else ""
        raise ValueError(f"{place}{line}: not JSON: {error.msg} at column {error.colno}") from None


def _object(item: Any, place: str) -> Row:
    if not isinstance(item, dict):
        raise ValueError(f"{place}: a row must be a JSON object, got {type(item).__name__}")
    return place, item


def _csv_rows(file: Path) -> Iterator[Row]:
    reader = csv.DictReader(_lines(file), restkey="", strict=True)
    try:
        for row in reader:
            place = f"{file}, line {reader.line_num}"
            if "" in row or None in row.values():
                raise ValueError(f"{place}: the number of fields differs from the header's")
            yield place, row
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.reader.line_num}: malformed CSV: {error}") from None


def _parquet_rows(file: Path) -> Iterator[Row]:
    from pyarrow import ArrowException  # type: ignore[import-untyped, unused-ignore]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped, unused-ignore]

    try:
        batches = ParquetFile(file).iter_batches(BATCH)
        rows = (row for batch in batches for row in batch.to_pylist())
        yield from ((f"{file}, row {number}", row) for number, row in enumerate(rows, start=1))
    except ArrowException as error:
        raise ValueError(f"{file} is no whole Parquet file: {first_sentence(error)}") from None


def _hub_rows(settings: PreferencesSettings) -> Iterator[Row]:
    from datasets import load_dataset

    name = settings.data
    try:
        data = load_dataset(name, settings.subset, split=settings.split or "train")
    except (OSError, ValueError) as error:
        reason = first_sentence(error)
        raise ValueError(f"{name} is no local file, and no hub data set to load: {reason}") from None
    if not len(data):
        raise ValueError(f"the data set {name} is empty: it has no row of data")
    yield from ((f"{name}, row {number}", dict(row)) for number, row in enumerate(data, start=1))


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of what another library says."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return line.split(". ")[0].rstrip(". :")
