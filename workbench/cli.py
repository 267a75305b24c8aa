"""The command line. Heavy packages are imported inside the commands that need them."""

import json
import os
import shlex
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.catalogue import JsonOption, PluginOption, list_metrics, recipes_app, show, tricks_app
from workbench.errors import is_expected, one_sentence

if TYPE_CHECKING:
    from ablations.folder import StudyFolder
    from ablations.study import Study
    from ablations.trials import Status
    from workbench.training import Result

FAILED, WRONG, INTERRUPTED = 1, 2, 130
"""Exit statuses: a trial or an upload failed; the command cannot be carried out; stopped by Ctrl-C."""

app = typer.Typer(
    help=(
        "Which PPO implementation details matter for your language model, and is its training stable?"
        "\n\nStart with: workbench ablate ablations/quickstart.yaml"
    ),
    epilog="Add --debug to any command for a traceback. Every long job goes on with the same command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
example_app = typer.Typer(help="Runs in a form that any clone can open.", no_args_is_help=True)
app.add_typer(tricks_app, name="tricks")
app.add_typer(recipes_app, name="recipes")
app.command("metrics")(list_metrics)
app.add_typer(example_app, name="example")

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="WORKBENCH_HOME", help="Folder of stores, models and studies.")
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
    str | None, typer.Option(help="A number of seeds, or a list: --seeds 5, --seeds 0,3.")
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


@app.command()
def prepare(
    study: StudyArgument,
    home: HomeOption = HOME,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    tracking_uri: StoreOption = None,
    set_: SetOption = None,
    plugin: PluginOption = None,
) -> None:
    """Pre-train, fine-tune and train the reward model of a study, without running it.

    Workers can join it from then on: see `workbench worker --help`.

    Example: workbench prepare ablations/quickstart.yaml
    """
    from ablations.launchers.local import Local
    from ablations.plan import open_study
    from ablations.runner import Options, default_workers, prepare_only
    from ablations.study import parse_changes

    with _resumable():
        asked = open_study(study, home, parse_changes(set_ or []), plugin or [])
        workers = default_workers(asked, Local(device))
        go_on = _command().replace("workbench prepare", "workbench ablate", 1)
        options = Options(workers, tracking_uri, device, go_on, threads=threads)
        prepared = prepare_only(asked, home, options)
    for stage in ("base", "sft", "reward_model"):
        typer.echo(f"{stage:<13} {getattr(prepared, stage)}")


@app.command()
def train(
    recipe: Annotated[str, typer.Option(help="Recipe to start from: see `workbench recipes`.")],
    with_: Annotated[
        list[str] | None, typer.Option("--with", help="trick.field=value, or trick (repeatable).")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="Trick to leave out (repeatable).")] = None,
    task: Annotated[str, typer.Option(help="dialogue or preferences.")] = "dialogue",
    seed: Annotated[int, typer.Option(min=0, help="Of prompts, samples and minibatches.")] = 0,
    iterations: IterationsOption = None,
    home: HomeOption = HOME,
    device: DeviceOption = "auto",
    tracking_uri: StoreOption = None,
    set_: SetOption = None,
    plugin: PluginOption = None,
) -> None:
    """Train one recipe with one seed, outside of any study.

    Examples: workbench train --recipe vanilla --with token_kl_penalty.weight=0.05 --iterations 50

    accelerate launch --multi_gpu --num_processes 4 -m workbench.cli train --recipe ppo_max
    """
    from ablations.pruners import make_pruner
    from ablations.study import make_arm_study
    from workbench.environment import settle_process
    from workbench.parallel import is_main, leave
    from workbench.tracking import default_store
    from workbench.train_one import train_one

    asked = make_arm_study(
        recipe, with_ or [], without or [], task, iterations, set_ or [], plugin or []
    )
    [arm] = asked.recipes.values()
    settle_process()
    with _resumable():
        policy, result = train_one(
            arm, asked.task, asked.prepare, asked.ppo, collapse_rule=asked.collapse,
            pruner=make_pruner(asked), seed=seed, home=home,
            store=default_store(home, tracking_uri), device=device,
        )  # fmt: skip
    if is_main():
        _print_result(policy, result, asked.ppo.iterations)
    leave()


@app.command()
def ablate(
    study: StudyArgument,
    workers: WorkersOption = None,
    seeds: SeedsOption = None,
    iterations: IterationsOption = None,
    home: HomeOption = HOME,
    device: DeviceOption = "auto",
    tracking_uri: StoreOption = None,
    set_: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option(help="Say what would run and what it costs; run nothing.")
    ] = False,
    plugin: PluginOption = None,
    storage: StorageOption = None,
    grace: GraceOption = 60.0,
    launcher: LauncherOption = "local",
    threads: ThreadsOption = None,
    processes_per_trial: ProcessesOption = 1,
    pin_cores: PinOption = False,
    ray_address: RayAddressOption = None,
    trial_cpus: TrialCpusOption = None,
    trial_gpus: TrialGpusOption = None,
) -> None:
    """Run a study: prepare the models, train every arm with every seed, write the report.

    The same command goes on after Ctrl-C or a crash, retries what failed, and takes up arms and seeds
    that were added to the file.

    Examples: workbench ablate ablations/quickstart.yaml --dry-run

    workbench ablate ablations/studies/hh_rlhf.yaml --set task.data=my.jsonl.gz --seeds 3
    """
    from ablations import runner
    from ablations.launchers.choice import make_launcher
    from ablations.plan import open_study
    from ablations.study import parse_changes, parse_seeds

    changes = {} if seeds is None else {"seeds": parse_seeds(seeds)}
    changes |= {} if iterations is None else {"ppo.iterations": iterations}
    asked = open_study(study, home, changes | parse_changes(set_ or []), plugin or [])
    place = make_launcher(
        launcher, device=device, processes=processes_per_trial, pin_cores=pin_cores,
        ray_address=ray_address, trial_cpus=trial_cpus, trial_gpus=trial_gpus,
    )  # fmt: skip
    options = runner.Options(
        workers or runner.default_workers(asked, place), tracking_uri, device, _command(),
        storage=storage, grace_seconds=grace, launcher=place, threads=threads,
    )  # fmt: skip
    if dry_run:
        _dry_run(asked, home, options)
        return
    with _resumable():
        statuses = runner.ablate(asked, home, options)
    _print_outcome(statuses, asked.ppo.iterations)
    _upload(home / "studies" / asked.name, None)
    if any(status.state != "failed" for status in statuses):
        _report(asked.name, home)
    if any(status.state == "failed" for status in statuses):
        raise typer.Exit(FAILED)


@app.command()
def worker(
    study: Annotated[str, typer.Argument(help="Name of a study that was prepared.")],
    home: HomeOption = HOME,
    storage: StorageOption = None,
    name: Annotated[str | None, typer.Option(help="Of this worker; else HOST:PROCESS.")] = None,
    processes_per_trial: ProcessesOption = 1,
) -> None:
    """Join a study with one more worker, from any host; it ends when every cell is done.

    It trains what waits, takes up what a dead worker left from its last checkpoint, and on Ctrl-C or
    SIGTERM finishes its iteration, writes a checkpoint and puts the cell back for others. Start as
    many as you like, whenever you like: no cell is trained twice at a time. A host that does not
    share the home folder names the study's --storage. docs/cluster.md has scripts for Slurm, ssh and
    Kubernetes; to try again what failed, and for the report, run `workbench ablate STUDY` after it.

    Examples: workbench worker quickstart

    srun --mpi=none workbench worker quickstart --home /shared/runs
    """
    from ablations.joining import join, reach
    from workbench.environment import settle_process

    settle_process()
    raise typer.Exit(join(reach(home, study, storage), name=name, processes=processes_per_trial))


@app.command("storage-proxy")
def storage_proxy(
    storage: Annotated[str, typer.Argument(help="The database: postgresql://…")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port.")] = 13000,
) -> None:
    """Put Optuna's gRPC proxy in front of a database, so that hundreds of workers share its connections.

    Example: workbench storage-proxy postgresql://lab@db/optuna --host 0.0.0.0

    then: workbench ablate STUDY --storage grpc://thishost:13000
    """
    from ablations.storage import masked, serve

    typer.echo(f"{masked(storage)} at grpc://{host}:{port}  (Ctrl-C ends it)")
    try:
        serve(storage, host, port)
    except KeyboardInterrupt:
        return


@app.command()
def status(study: StudyArgument, home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Say which cells are done, running, waiting or failed.

    Example: workbench status quickstart --json
    """
    from ablations.standings import status_facts

    folder, statuses = _statuses(study, home)
    outline = folder.outline()
    iterations = outline.iterations
    if as_json:
        show({"study": folder.name, "iterations": iterations, **status_facts(statuses)}, as_json)
    else:
        _print_outcome(statuses, iterations)
        is_done = all(status.state in ("ok", "collapsed") for status in statuses)
        typer.echo(f"report: {folder.report}" if is_done else f"go on with: {outline.command}")


@app.command()
def report(study: StudyArgument, home: HomeOption = HOME) -> None:
    """Write the report of a study, as far as it has come.

    Example: workbench report quickstart
    """
    folder, _ = _statuses(study, home)
    _report(folder.name, home)


@app.command()
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

    Example: workbench sync quickstart
    """
    folder = _find(study, home).path if study else home
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not _upload(folder, tracking_uri):
        typer.echo("everything is in MLflow")


@app.command()
def compare(
    names: Annotated[
        list[str],
        typer.Argument(help="A study; a study and arms of it, the baseline first; or two studies."),
    ],
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric at the end of a run (repeatable); else all.")
    ] = None,
    home: HomeOption = HOME,
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how arms, or two studies, differ: difference, interval, n, p, and what could be found.

    Examples: workbench compare quickstart vanilla ppo_max

    workbench compare before after --metric final/gold --json
    """
    from analysis.terminal import as_data, as_page, compared
    from workbench.tracking import default_store

    table = compared(names, default_store(home, tracking_uri).uri, metric or [])
    show(as_data(table) if as_json else as_page(table), as_json)


@app.command()
def watch(
    study: Annotated[
        str, typer.Argument(help="Name of the study under way; `train` for runs of that command.")
    ] = "train",
    from_: Annotated[
        str | None,
        typer.Option("--from", help="Study that the thresholds are learnt from; else the study's own."),
    ] = None,
    from_uri: Annotated[
        str | None, typer.Option(help="MLflow store of the study named by --from, if it is another.")
    ] = None,
    home: HomeOption = HOME,
    tracking_uri: StoreOption = None,
    monitors: Annotated[int, typer.Option(min=1, help="Watch so many of the best monitors.")] = 3,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """Warn when a run under way goes as runs went that collapsed: a line a warning.

    Thresholds are learnt from runs that collapsed and runs that held, two of each at least. A run
    shows its points every `ppo.checkpoint_every` iterations.

    Examples: workbench watch quickstart

    workbench watch train --from quickstart --once
    """
    from functools import partial

    from analysis.runs import load
    from analysis.watch import follow, learn_alarms

    uri = tracking_uri or f"sqlite:///{(home / 'mlflow.db').resolve()}"
    alarms = learn_alarms(load(from_ or study, from_uri or uri), monitors)
    for alarm in alarms:
        typer.echo(alarm.sentence, err=True)
    read = partial(load, study, uri, frozenset(alarm.monitor for alarm in alarms))
    try:
        for alert in follow(read, alarms, once=once, pause=partial(time.sleep, every)):
            typer.echo(json.dumps(alert.facts) if as_json else alert.sentence)
    except KeyboardInterrupt:
        return


@app.command()
def ui(
    home: HomeOption = HOME,
    port: Annotated[int, typer.Option(help="TCP port on this machine; 0 takes a free one.")] = 5000,
    example: Annotated[
        bool, typer.Option("--example", help="Open the runs that come with the project.")
    ] = False,
) -> None:
    """Open the MLflow UI: one process, reachable from this machine only.

    Example: workbench ui --example
    """
    from workbench.signals import sigterm_as_ctrl_c
    from workbench.tracking_store import EXAMPLE, example_copy, served

    if example:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ppo-workbench"
        cache.mkdir(parents=True, exist_ok=True)
        database, artifacts = example_copy(Path(__file__).resolve().parent.parent / EXAMPLE, cache)
    else:
        database, artifacts = home / "mlflow.db", home / "artifacts"
        if not database.is_file():
            raise FileNotFoundError(f"there are no runs in {home}; try `workbench ui --example`")
    typer.echo("starting MLflow …")
    with sigterm_as_ctrl_c(), served(database, artifacts, port) as address:
        typer.echo(f"{address}  (Ctrl-C ends it)")
        for name, view in _chart_views(f"sqlite:///{database.resolve()}").items():
            typer.echo(f"{name}: {address}/{view}")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return


@example_app.command("export")
def export_example(study: str, target: Path, home: HomeOption = HOME) -> None:
    """Write one study as a small store that opens at any path.

    Example: workbench example export quickstart mlruns.example
    """
    from workbench import tracking_store

    every = tracking_store.export_example(home / "mlflow.db", study, target)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    kept = "every step" if every == 1 else f"every {every}th step"
    typer.echo(f"{target}: {size / 1e6:.1f} MB, {kept}")


def main() -> None:
    """Run the command line: errors are one sentence, a traceback comes with --debug."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments, prog_name="workbench")
    except Exception as error:
        if len(arguments) < len(sys.argv) - 1:
            traceback.print_exc()
        else:
            hint = "" if is_expected(error) else " (add --debug for the traceback)"
            typer.echo(f"workbench: {one_sentence(error)}{hint}", err=True)
        sys.exit(WRONG)


def _print_result(policy: Path, result: "Result", iterations: int) -> None:
    for name, value in result.final.items():
        typer.echo(f"{name:<28} {value:10.4g}")
    if result.collapse:
        typer.echo(f"collapsed at iteration {result.collapse.iteration}: {result.collapse.reason}")
    if result.stopped_at is not None:
        typer.echo(f"pruned after {result.stopped_at} of {iterations} iterations")
    typer.echo(f"policy: {policy}")


def _statuses(study: str, home: Path) -> "tuple[StudyFolder, list[Status]]":
    """Say how a study's cells stand, without torch, so that it answers at once."""
    from ablations.opening import look_at_trials

    folder = _find(study, home)
    return folder, look_at_trials(folder, folder.outline()).status()


def _find(study: str, home: Path) -> "StudyFolder":
    """Return the folder of a study that is given by its name or its file."""
    from ablations.folder import find_study
    from workbench.yaml_files import read_yaml

    path = Path(study)
    is_file = path.suffix in (".yaml", ".yml")
    return find_study(home, str(read_yaml(path).get("name", path.stem)) if is_file else study)


def _dry_run(study: "Study", home: Path, options: Any) -> None:
    from ablations.designs.facts import design_lines
    from ablations.runner import dry_run
    from ablations.standings import estimate_lines

    statuses, estimate = dry_run(study, home, options)
    _print_outcome(statuses, study.ppo.iterations)
    for line in [*design_lines(study), *estimate_lines(statuses, estimate, options.workers)]:
        typer.echo(line)


def _print_outcome(statuses: "list[Status]", iterations: int) -> None:
    from ablations.standings import status_tables, summary

    for table in status_tables(statuses, iterations):
        show(table)
    typer.echo(summary(statuses))
    for status in statuses:
        if status.error:
            typer.echo(f"{status.cell.name} failed: {status.error}", err=True)


def _upload(folder: Path, tracking_uri: str | None) -> int:
    """Upload the spools below a folder, say what became of each, and return how many there were."""
    from workbench.sync import sync

    uploads = sync(folder, tracking_uri)
    for upload in uploads:
        told = upload.reason or f"{upload.state}, {upload.steps} steps sent"
        typer.echo(f"{upload.name}: {told}", err=upload.state == "failed")
    if any(upload.state == "failed" for upload in uploads):
        raise typer.Exit(FAILED)
    return len(uploads)


def _report(study: str, home: Path) -> None:
    """Write report, summary experiment and chart view, and say where they are."""
    from ablations.folder import find_study
    from analysis.publish import publish
    from workbench.tracking import default_store

    folder = find_study(home, study)
    uri = default_store(home, folder.outline().tracking_uri).uri
    page = publish(study, uri, folder.report)
    _chart_views(uri)
    typer.echo(f"report: {page}\ncurves: workbench ui{'' if home == HOME else f' --home {home}'}")


def _chart_views(uri: str) -> dict[str, str]:
    """Save a chart view with every study of a store; return their addresses by study."""
    from mlflow import MlflowClient

    from analysis.chart_view import write_chart_view

    found = MlflowClient(tracking_uri=uri).search_experiments()
    studies = {e.name: e.experiment_id for e in found if "workbench.study" in e.tags}
    return {name: f"#/experiments/{i}/runs{write_chart_view(name, uri)}" for name, i in studies.items()}


def _command(processes: int = 1) -> str:
    launch = f"accelerate launch --multi_gpu --num_processes {processes} -m workbench.cli"
    return shlex.join([*(launch.split() if processes > 1 else ["workbench"]), *sys.argv[1:]])


@contextmanager
def _resumable() -> Iterator[None]:
    """On Ctrl-C, say which command goes on."""
    from workbench.parallel import is_main, processes
    from workbench.training import Interrupted

    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        if is_main():
            typer.echo(f"stopped; go on with: {_command(processes())}", err=True)
        raise typer.Exit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
