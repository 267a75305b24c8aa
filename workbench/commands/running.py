"""Commands that train: one run, a study, a worker of a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.commands.options import (
    HOME,
    DeviceOption,
    GraceOption,
    HomeOption,
    IterationsOption,
    LauncherOption,
    PinOption,
    PluginOption,
    ProcessesOption,
    RayAddressOption,
    SeedsOption,
    SetOption,
    StorageOption,
    StoreOption,
    StudyArgument,
    ThreadsOption,
    TrialCpusOption,
    TrialGpusOption,
    WorkersOption,
)
from workbench.commands.shared import (
    FAILED,
    command,
    print_outcome,
    resumable,
    upload,
    write_report_of,
)

if TYPE_CHECKING:
    from ablations.study import Study
    from workbench.training import Result


def prepare(
    study: StudyArgument,
    home: HomeOption = HOME,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    tracking_uri: StoreOption = None,
    storage: StorageOption = None,
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
    from ablations.study_files import parse_changes

    with resumable():
        asked = open_study(study, home, parse_changes(set_ or []), plugin or [])
        workers = default_workers(asked, Local(device))
        go_on = command().replace("workbench prepare", "workbench ablate", 1)
        options = Options(workers, tracking_uri, device, go_on, storage=storage, threads=threads)
        prepared = prepare_only(asked, home, options)
    for stage in ("base", "sft", "reward_model"):
        typer.echo(f"{stage:<13} {getattr(prepared, stage)}")


def train(
    recipe: Annotated[str, typer.Option(help="Recipe to start from: see `workbench recipes`.")],
    with_: Annotated[
        list[str] | None, typer.Option("--with", help="trick.field=value, or trick (repeatable).")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="Trick to leave out (repeatable).")] = None,
    task: Annotated[str, typer.Option(help="dialogue, randomwalks or preferences.")] = "dialogue",
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
    from ablations.study_files import make_arm_study
    from workbench.environment import settle_process
    from workbench.parallel import is_main, leave
    from workbench.tracking.store import default_store
    from workbench.train_one import train_one

    asked = make_arm_study(
        recipe, with_ or [], without or [], task, iterations, set_ or [], plugin or []
    )
    [arm] = asked.recipes.values()
    settle_process()
    with resumable():
        policy, result = train_one(
            arm, asked.task, asked.prepare, asked.ppo, collapse_rule=asked.collapse,
            pruner=make_pruner(asked), seed=seed, home=home,
            store=default_store(home, tracking_uri), device=device,
        )  # fmt: skip
    if is_main():
        _print_result(policy, result, asked.ppo.iterations)
    leave()


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
        bool, typer.Option("--dry-run", help="Say what would run and what it costs; run nothing.")
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
    from ablations.folder import StudyFolder
    from ablations.launchers.choice import make_launcher
    from ablations.plan import open_study
    from ablations.study_files import parse_changes, parse_seeds

    changes = {} if seeds is None else {"seeds": parse_seeds(seeds)}
    changes |= {} if iterations is None else {"ppo.iterations": iterations}
    asked = open_study(study, home, changes | parse_changes(set_ or []), plugin or [])
    place = make_launcher(
        launcher, device=device, processes=processes_per_trial, pin_cores=pin_cores,
        ray_address=ray_address, trial_cpus=trial_cpus, trial_gpus=trial_gpus,
    )  # fmt: skip
    options = runner.Options(
        workers or runner.default_workers(asked, place), tracking_uri, device, command(),
        storage=storage, grace_seconds=grace, launcher=place, threads=threads,
    )  # fmt: skip
    if dry_run:
        _dry_run(asked, home, options)
        return
    with resumable():
        statuses = runner.ablate(asked, home, options)
        folder = StudyFolder(home, asked.name)
        print_outcome(folder, statuses, asked.ppo.iterations)
        upload(folder.path, None)
        if any(status.state != "failed" for status in statuses):
            write_report_of(asked.name, home)
    if any(status.state == "failed" for status in statuses):
        raise typer.Exit(FAILED)


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
    status = join(reach(home, study, storage), name=name, processes=processes_per_trial)
    if status == 0:
        typer.echo(f"nothing is left to train in {study}")
    raise typer.Exit(status)


def storage_proxy(
    storage: Annotated[str, typer.Argument(help="The database: postgresql://…")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 13000,
) -> None:
    """Put Optuna's gRPC proxy in front of a database, so that hundreds of workers share its connections.

    Example: workbench storage-proxy postgresql://lab@db/optuna --host 0.0.0.0

    then: workbench ablate STUDY --storage grpc://thishost:13000
    """
    from ablations.storage import masked, open_storage, require_database, serve

    require_database(storage)
    database = open_storage(storage, Path())
    typer.echo(f"{masked(storage)} at grpc://{host}:{port}  (Ctrl-C ends it)")
    try:
        serve(database, host, port)
    except KeyboardInterrupt:
        return


def _print_result(policy: Path, result: "Result", iterations: int) -> None:
    for name, value in result.final.items():
        typer.echo(f"{name:<28} {value:10.4g}")
    if result.collapse:
        typer.echo(f"collapsed at iteration {result.collapse.iteration}: {result.collapse.reason}")
    if result.stopped_at is not None:
        typer.echo(f"pruned after {result.stopped_at} of {iterations} iterations")
    typer.echo(f"policy: {policy}")


def _dry_run(study: "Study", home: Path, options: Any) -> None:
    from ablations.designs.facts import design_lines
    from ablations.folder import StudyFolder
    from ablations.runner import dry_run
    from ablations.standings import estimate_lines

    statuses, estimate = dry_run(study, home, options)
    print_outcome(StudyFolder(home, study.name), statuses, study.ppo.iterations)
    for line in [*design_lines(study), *estimate_lines(statuses, estimate, options.workers)]:
        typer.echo(line)
