"""A study's runs in a form that any clone can open, as those that come with the project."""

import hashlib
import json
import os
import shlex
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workbench.names import unknown

EXAMPLE = Path(__file__).resolve().parents[2] / "mlruns.example"
"""Runs that come with the project; not there where it is installed without its checkout."""
LIMIT_BYTES = 20_000_000
REPEATED = shutil.ignore_patterns("*.svg", "*.html", "curves.csv")
"""Artifacts left out of an exported store: the report's page and its figures once more as SVG."""
SPARED = ("index_metrics_run_uuid", "index_metrics_run_uuid_key_step")
"""Indexes of MLflow's that take as much room as the metrics, and are not missed in a small store, whose
primary key begins with the metric."""
MARK = "mlflow.loggedArtifacts"
"""Tag of runs that have artifacts: each that trained to its end has it."""
THINNINGS = (1, 2, 5, 10, 20, 50)


def example_copy(example: Path, cache: Path) -> tuple[Path, Path]:
    """Copy an example store to a cache folder, so that serving it never changes the original.

    Args:
        example: folder with `mlflow.db` and `artifacts`.
        cache: folder of caches.
    Returns:
        database and artifacts of the copy.
    Raises:
        FileNotFoundError: if there is no example.
    """
    database = example / "mlflow.db"
    if not database.is_file():
        raise FileNotFoundError(
            f"there is no example in {example}; make one with `workbench example export STUDY {example}`"
        )
    digest = hashlib.sha256(database.read_bytes()).hexdigest()[:12]
    copy = cache / f"example-{digest}"
    if not copy.is_dir():
        partial = cache / f".partial-{digest}-{os.getpid()}"
        shutil.copytree(example, partial)
        partial.rename(copy)
    return copy / "mlflow.db", copy / "artifacts"


def export_example(database: Path, studies: Sequence[str], target: Path) -> int:
    """Write studies and their summaries as a small store with URIs that hold at any path.

    Steps between evaluations are thinned out evenly until the folder is below 20 MB; first and last
    steps, evaluations at kept steps, and end-of-run metrics stay.

    Args:
        database: SQLite file of the store.
        studies: their names; one whose arms another lends has no runs of its own for them.
        target: folder to write; must not hold anything.
    Returns:
        every how many steps are kept.
    Raises:
        ValueError: if the target is not empty, a study is not there, artifacts are not where the store
            says, they stay too large, or the store is damaged. What was written is gone then.
    """
    if target.is_dir() and any(target.iterdir()):
        raise ValueError(f"{target} is not empty; delete it or name another folder")
    if not database.is_file():
        raise FileNotFoundError(f"there is no store at {database}")
    partial = target.with_name(f".{target.name}.partial")
    try:
        return _first_that_fits(database, studies, partial, target)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"the store {database} cannot be exported: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _first_that_fits(database: Path, studies: Sequence[str], partial: Path, target: Path) -> int:
    for every in THINNINGS:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _export(database, studies, partial, every)
        if _size(partial) < LIMIT_BYTES:
            target.rmdir() if target.is_dir() else None
            partial.rename(target)
            return every
    named = ", ".join(studies)
    raise ValueError(f"{named} does not fit into {LIMIT_BYTES / 1e6:.0f} MB, however thinned")


def _export(database: Path, studies: Sequence[str], target: Path, every: int) -> None:
    copy = target / "mlflow.db"
    with closing(sqlite3.connect(f"file:{database.resolve()}?mode=ro", uri=True)) as source:
        with closing(sqlite3.connect(copy)) as db:
            source.backup(db)
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        kept = _keep_only(db, studies)
        _copy_artifacts(db, kept, target / "artifacts")
        _make_portable(db)
        _thin(db, every)
        for index in SPARED:
            db.execute(f"DROP INDEX IF EXISTS {index}")
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("VACUUM")


def _thin(db: sqlite3.Connection, every: int) -> None:
    """Delete the metrics of all steps but every so manieth and each run's last."""
    db.execute(
        "CREATE TEMP TABLE last_step AS"
        " SELECT run_uuid, max(step) AS step FROM metrics GROUP BY run_uuid"
    )
    db.execute("CREATE UNIQUE INDEX temp.last_step_of_run ON last_step (run_uuid)")
    db.execute(
        "DELETE FROM metrics WHERE step % ? AND step <"
        " (SELECT last.step FROM last_step AS last WHERE last.run_uuid = metrics.run_uuid)",
        (every,),
    )


def _keep_only(db: sqlite3.Connection, studies: Sequence[str]) -> list[str]:
    """Delete every experiment but the studies' two and MLflow's own Default; return the kept ids."""
    names = dict(db.execute("SELECT name, experiment_id FROM experiments"))
    for study in studies:
        if study not in names:
            raise ValueError(unknown("study", study, (n for n in names if not n.endswith("/summary"))))
    wanted = [name for study in studies for name in (study, f"{study}/summary")]
    kept = [str(names[name]) for name in wanted if name in names]
    db.execute("CREATE TEMP TABLE kept_experiment AS SELECT experiment_id FROM experiments WHERE 0")
    db.executemany("INSERT INTO kept_experiment VALUES (?)", [(i,) for i in [*kept, "0"]])
    db.execute(
        "CREATE TEMP TABLE kept_run AS SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'"
        " AND experiment_id IN (SELECT experiment_id FROM kept_experiment)"
    )
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for table in tables:
        columns = {row[1] for row in db.execute(f'PRAGMA table_info("{table}")')}
        for column, kind in (("run_uuid", "kept_run"), ("experiment_id", "kept_experiment")):
            if column in columns:
                db.execute(f'DELETE FROM "{table}" WHERE {column} NOT IN (SELECT {column} FROM {kind})')
    return kept


def _copy_artifacts(db: sqlite3.Connection, kept: Sequence[str], target: Path) -> None:
    marked = {run for (run,) in db.execute("SELECT run_uuid FROM tags WHERE key = ?", (MARK,))}
    query = "SELECT run_uuid, name, experiment_id, artifact_uri FROM runs"
    for run, name, experiment, uri in db.execute(query):
        source = Path(unquote(urlsplit(uri).path) if uri.startswith("file:") else uri)
        if str(experiment) in kept and source.is_dir():
            shutil.copytree(source, target / str(experiment) / run / "artifacts", ignore=REPEATED)
        elif str(experiment) in kept and run in marked:
            raise ValueError(
                f"run {name} has artifacts, but they are not in {source};"
                " put them back there, or make that path a link to where they are now"
            )


def _make_portable(db: sqlite3.Connection) -> None:
    """Write URIs that a server resolves below its own artifact folder, and drop who ran it where."""
    db.execute("UPDATE experiments SET artifact_location = 'mlflow-artifacts:/' || experiment_id")
    db.execute(
        "UPDATE runs SET source_name = '', user_id = '', artifact_uri ="
        " 'mlflow-artifacts:/' || experiment_id || '/' || run_uuid || '/artifacts'"
    )
    db.execute("DELETE FROM tags WHERE key IN ('mlflow.user', 'mlflow.source.name')")
    studies = "FROM experiment_tags WHERE key = 'workbench.study'"
    for experiment, text in db.execute(f"SELECT experiment_id, value {studies}").fetchall():
        tag = json.loads(text)
        tag["command"] = _without_home(tag.get("command", ""))
        db.execute(
            "UPDATE experiment_tags SET value = ? WHERE key = 'workbench.study' AND experiment_id = ?",
            (json.dumps(tag), experiment),
        )


def _without_home(command: str) -> str:
    """Leave out of a command in which folder it kept its runs."""
    words = shlex.split(command)
    told = [i for i, word in enumerate(words) if word == "--home"]
    dropped = {*told, *(i + 1 for i in told)}
    kept = [word for i, word in enumerate(words) if i not in dropped]
    return shlex.join(word for word in kept if not word.startswith("--home="))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
