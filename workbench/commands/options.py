"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="WORKBENCH_HOME", help="Folder of stores, models and studies.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
PluginOption = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Python file with tricks of your own (repeatable).", metavar="FILE"),
]
StudyArgument = Annotated[str, typer.Argument(help="Study file, or the name of a study begun before.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
StoreOption = Annotated[
    str | None,
    typer.Option("--tracking-uri", help="MLflow store; else a SQLite file in the home folder."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting: --set ppo.iterations=20 (repeatable)."),
]
SeedsOption = Annotated[
    str | None,
    typer.Option(help="A number of seeds, or a list: `--seeds 0,3`; `--seeds 3,` is seed 3 alone."),
]
IterationsOption = Annotated[int | None, typer.Option(min=1, help="PPO iterations.")]
StorageOption = Annotated[
    str | None,
    typer.Option(
        help="Trials: postgresql://HOST/NAME or grpc://HOST:PORT; else a file in the home folder."
    ),
]
GraceOption = Annotated[
    float, typer.Option(min=1, help="Seconds of silence until a worker elsewhere counts as dead.")
]
PLACE = "Where workers run (docs/cluster.md)"
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel=PLACE, help="At a time; else 2, one per GPU, or what fits Ray."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel=PLACE, help="Of each process; else the cores are shared out."),
]
ProcessesOption = Annotated[
    int,
    typer.Option(min=1, rich_help_panel=PLACE, help="That train each trial together, a GPU each."),
]
PinOption = Annotated[
    bool, typer.Option("--pin-cores", rich_help_panel=PLACE, help="Keep workers to cores of their own.")
]
LauncherOption = Annotated[
    str, typer.Option(rich_help_panel=PLACE, help="local: this machine. ray: a Ray cluster.")
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(rich_help_panel=PLACE, help="Of the Ray cluster; else the one that runs here."),
]
TrialCpusOption = Annotated[
    float | None,
    typer.Option(min=0.01, rich_help_panel=PLACE, help="Of a worker on Ray; else 1 per process."),
]
TrialGpusOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        rich_help_panel=PLACE,
        help="Of a worker on Ray, perhaps 0.25; else 1 per process.",
    ),
]
HOME = Path("runs")
