"""Commands for MLflow's stores: open the UI, deliver what waits, export an example."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from workbench.commands.options import HOME, HomeOption
from workbench.commands.shared import find, upload


def sync(
    study: Annotated[
        str | None, typer.Argument(help="Study; else everything in the home folder.")
    ] = None,
    home: HomeOption = HOME,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow store; else the one that each run was meant for.")
    ] = None,
) -> None:
    """Upload to MLflow what runs could not deliver while the store was away.

    Training never waits for the store. When a run ends, it gives the store WORKBENCH_PATIENCE_SECONDS
    (120) to take the rest, and otherwise leaves it to this command.

    Example: workbench sync quickstart
    """
    folder = find(study, home).path if study else home
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; see --home")
    if not upload(folder, tracking_uri):
        typer.echo("everything is in MLflow")


def ui(
    home: HomeOption = HOME,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="TCP port on this machine; 0 takes a free one.")
    ] = 5000,
    example: Annotated[
        bool, typer.Option("--example", help="Open the runs that come with the project.")
    ] = False,
) -> None:
    """Open the MLflow UI: one process, reachable from this machine only.

    Example: workbench ui --example
    """
    from analysis.chart_view import dress
    from workbench.signals import sigterm_as_ctrl_c
    from workbench.tracking.example import EXAMPLE, example_copy
    from workbench.tracking.ui import served

    if example:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ppo-workbench"
        cache.mkdir(parents=True, exist_ok=True)
        database, artifacts = example_copy(EXAMPLE, cache)
    else:
        database, artifacts = home / "mlflow.db", home / "artifacts"
        if not database.is_file():
            raise FileNotFoundError(f"there are no runs in {home}; try `workbench ui --example`")
    typer.echo("starting MLflow …")
    # Before there is an address: CPython ends as killed if a Ctrl-C, even a caught one, met an import.
    views = dress(f"sqlite:///{database.resolve()}")
    with sigterm_as_ctrl_c(), served(database, artifacts, port) as address, suppress(KeyboardInterrupt):
        typer.echo(f"{address}  (Ctrl-C ends it)")
        for name, view in views.items():
            typer.echo(f"{name}: {address}/{view}")
        while True:
            time.sleep(3600)


def export_example(studies: list[str], target: Path, home: HomeOption = HOME) -> None:
    """Write one study, or several, as a small store that opens at any path.

    Example: workbench example export quickstart figure_04 mlruns.example
    """
    from workbench.tracking import example

    every = example.export_example(home / "mlflow.db", studies, target)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    kept = "every step" if every == 1 else f"every {every}th step"
    typer.echo(f"{target}: {size / 1e6:.1f} MB, {kept}")
