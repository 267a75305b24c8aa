"""Commands that tell what came out: how a study stands, its report, comparisons, warnings."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from workbench.commands.options import HOME, HomeOption, JsonOption, StoreOption, StudyArgument
from workbench.commands.shared import (
    deleted_runs,
    find,
    how_to_go_on,
    look,
    print_outcome,
    show,
    write_report_of,
)


def status(study: StudyArgument, home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Say which cells are done, running, waiting or failed.

    Example: workbench status quickstart --json
    """
    from ablations.standings import status_facts

    folder, trials = look(study, home)
    outline, statuses, shortfall = folder.outline(), trials.status(), trials.shortfall
    facts = {"study": folder.name, "iterations": outline.iterations, "shortfall": shortfall}
    if as_json:
        deleted = {"deleted": sorted(deleted_runs(folder, statuses))}
        show({**facts, **status_facts(statuses), **deleted}, as_json)
    else:
        print_outcome(folder, statuses, outline.iterations)
        if shortfall:
            typer.echo(shortfall)
        typer.echo(how_to_go_on(folder, statuses))


def report(study: StudyArgument, home: HomeOption = HOME) -> None:
    """Write the report of a study, as far as it has come.

    Example: workbench report quickstart
    """
    write_report_of(find(study, home).name, home)


def compare(
    names: Annotated[
        list[str],
        typer.Argument(help="A study; a study and arms of it, the baseline first; or two studies."),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric at the end of a run, `mean/` before it for its mean (repeatable); else all."
        ),
    ] = None,
    difference: Annotated[
        float | None, typer.Option(help="Say how many seeds would find a difference of this size.")
    ] = None,
    home: HomeOption = HOME,
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how arms, or two studies, differ: difference, interval, n, p, and what could be found.

    Of two studies, a note says which settings and recipes they do not share.

    Examples: workbench compare quickstart vanilla ppo_max

    workbench compare before after --metric final/gold --difference 0.2 --json
    """
    from analysis.terminal import as_data, as_page, compared
    from workbench.tracking.store import default_store

    table = compared(names, default_store(home, tracking_uri).uri, metric or [])
    show(as_data(table, difference) if as_json else as_page(table, difference), as_json)


def table(
    study: Annotated[str, typer.Argument(help="Name of a study; its baseline is compared with.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric to compare, `mean/` before it for its mean over a run (repeatable); else final"
            " gold, or the final win rate where a task has no gold judge."
        ),
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Metric to tell, and not to compare (repeatable).")
    ] = None,
    home: HomeOption = HOME,
    tracking_uri: StoreOption = None,
) -> None:
    """Print a row an arm in Markdown, for a page or a paper: differences, intervals, p, n, commit.

    Examples: workbench table quickstart

    workbench table quickstart --metric final/gold --metric mean/eval/gold --also final/kl_to_sft
    """
    from analysis.arm_table import arm_table
    from analysis.loading import load
    from analysis.selection import objective
    from workbench.tracking.store import default_store

    found = load(study, default_store(home, tracking_uri).uri)
    typer.echo(arm_table(found, metric or [objective(found)], also or []).markdown)
    for note in found.notes:
        typer.echo(note, err=True)


def claims(
    home: Annotated[
        Path | None, typer.Option("--home", help="Recompute them from the store of this folder.")
    ] = None,
    setting: Annotated[
        str, typer.Option(help="Recompute those of another setting: grammar, wide, hh.")
    ] = "",
    save: Annotated[
        Path | None,
        typer.Option(
            help="Keep verdicts and figures in this folder, and write its page anew; verdicts that are "
            "there stay where this store has no runs for them, so that several machines add up."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which claims of the PPO paper hold: effect, interval, n and verdict of each.

    Without --home these are the verdicts of docs/paper.md, and nothing is computed.

    Examples: workbench claims --json

    workbench claims --home runs/paper

    workbench claims --home runs/paper --save docs/paper
    """
    from analysis.paper.results import as_rows, as_table, judge, kept, opener

    if home is None:
        if save or setting:
            raise ValueError("--save and --setting need --home, the folder of the runs")
        rows = kept()["claims"]
    else:
        from analysis.paper.keeping import keep
        from workbench.tracking.store import default_store

        open_study = opener(default_store(home).uri, setting)
        tell = partial(typer.echo, err=True)
        rows = as_rows(keep(open_study, save, setting, tell) if save else judge(open_study))
    show(rows if as_json else as_table(rows), as_json)


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

    from analysis.loading import load
    from analysis.warnings.watch import follow, learn_alarms, quiet_sentence, wanted
    from workbench.tracking.store import default_store

    uri = default_store(home, tracking_uri).uri
    alarms = learn_alarms(load(from_ or study, from_uri or uri), monitors)
    for alarm in alarms:
        typer.echo(alarm.sentence, err=True)
    read = partial(load, study, uri, wanted(alarms))
    alert = None
    try:
        for alert in follow(read, alarms, once=once, pause=partial(time.sleep, every)):
            typer.echo(json.dumps(alert.facts) if as_json else alert.sentence)
    except KeyboardInterrupt:
        return
    if alert is None:
        typer.echo(quiet_sentence(read()), err=True)
