"""What several commands do: print, find a study, say how it stands, how to go on."""

import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from workbench.commands.options import HOME

if TYPE_CHECKING:
    from ablations.folder import StudyFolder
    from ablations.records import Status
    from ablations.trials import Trials

FAILED, WRONG, INTERRUPTED = 1, 2, 130
"""Exit statuses: a trial or an upload failed; the command cannot be carried out; stopped by Ctrl-C."""


def show(content: Any, as_json: bool = False) -> None:
    """Print a table or a page; or, for programs, plain data as JSON."""
    if as_json:
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(content)


def look(study: str, home: Path) -> "tuple[StudyFolder, Trials]":
    """Open a study's trials to look at them, without torch, so that it answers at once."""
    from ablations.opening import look_at_trials

    folder = find(study, home)
    return folder, look_at_trials(folder, folder.outline())


def find(study: str, home: Path) -> "StudyFolder":
    """Return the folder of a study that is given by its name or its file."""
    from ablations.folder import find_study
    from workbench.yaml_files import read_yaml

    path = Path(study)
    is_file = path.suffix in (".yaml", ".yml")
    return find_study(home, str(read_yaml(path).get("name", path.stem)) if is_file else study)


def deleted_runs(folder: "StudyFolder", statuses: "list[Status]") -> dict[str, str]:
    """Return the id of the run of each done cell whose run was deleted in MLflow, where a look tells."""
    from analysis.store import deleted_runs

    known = {status.cell.name: status.run_id for status in statuses if status.run_id}
    deleted = deleted_runs(store_uri(folder)) if known else frozenset()
    return {cell: run_id for cell, run_id in known.items() if run_id in deleted}


def store_uri(folder: "StudyFolder") -> str:
    """Return the address of a study's MLflow store, without MLflow, which takes seconds to import."""
    return folder.outline().tracking_uri or f"sqlite:///{(folder.home / 'mlflow.db').resolve()}"


def print_outcome(folder: "StudyFolder", statuses: "list[Status]", iterations: int) -> None:
    """Say how the cells stand, and what went wrong."""
    from ablations.standings import status_tables, summary

    for table in status_tables(statuses, iterations):
        show(table)
    typer.echo(summary(statuses))
    for status in statuses:
        if status.error:
            typer.echo(f"{status.cell.name} failed: {status.error}", err=True)
    if deleted := deleted_runs(folder, statuses):
        from analysis.store import deleted_sentence

        typer.echo(deleted_sentence(deleted, store_uri(folder)), err=True)


def how_to_go_on(folder: "StudyFolder", statuses: "list[Status]") -> str:
    """Say what is next: to read the report, to wait for who trains, or to start the study again."""
    if all(status.is_done for status in statuses):
        return f"report: {folder.report / 'report.html'}"
    outline = folder.outline()
    heard = {status.worker: status.heard_at for status in statuses if status.state == "running"}
    alive = [name for name, at in heard.items() if at and time.time() - at < outline.grace_seconds]
    if folder.is_locked or alive:
        return f"it is being run by {', '.join(map(str, alive)) or 'another process'}"
    if outline.command and not outline.command.startswith("workbench "):
        return f"go on with: {outline.command}"
    return f"go on with: workbench ablate {folder.name}{home_option(folder.home)}"


def upload(folder: Path, tracking_uri: str | None) -> int:
    """Upload the spools below a folder, say what became of each, and return how many there were."""
    from workbench.tracking.sync import sync

    uploads = sync(folder, tracking_uri)
    for upload in uploads:
        told = upload.reason or f"{upload.state}, {upload.steps} steps sent"
        typer.echo(f"{upload.name}: {told}", err=upload.state == "failed")
    if any(upload.state == "failed" for upload in uploads):
        raise typer.Exit(FAILED)
    return len(uploads)


def write_report_of(study: str, home: Path) -> None:
    """Write report, summary experiment and chart view, and say where they are."""
    from ablations.folder import find_study
    from analysis.chart_view import dress
    from analysis.publish import publish
    from workbench.tracking.store import default_store

    folder = find_study(home, study)
    uri = default_store(home, folder.outline().tracking_uri).uri
    page = publish(study, uri, folder.report)
    dress(uri, study)
    typer.echo(f"report: {page}\ncurves: workbench ui{home_option(home)}")


def home_option(home: Path) -> str:
    """Return how to name a home folder on the command line; nothing for the default."""
    return "" if home == HOME else f" --home {shlex.quote(str(home))}"


def command(processes: int = 1) -> str:
    launch = f"accelerate launch --multi_gpu --num_processes {processes} -m workbench.cli"
    return shlex.join([*(launch.split() if processes > 1 else ["workbench"]), *sys.argv[1:]])


@contextmanager
def resumable() -> Iterator[None]:
    """On Ctrl-C, say which command goes on."""
    from workbench.parallel import is_main, processes
    from workbench.training import Interrupted

    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        if is_main():
            typer.echo(f"stopped; go on with: {command(processes())}", err=True)
        raise typer.Exit(INTERRUPTED) from None
