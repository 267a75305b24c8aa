"""The command line: which commands there are, and how errors are told."""

import sys
import traceback
from inspect import cleandoc

import typer

from workbench.commands.catalogue import list_metrics, recipes_app, tricks_app
from workbench.commands.findings import claims, compare, report, status, table, watch
from workbench.commands.running import ablate, prepare, storage_proxy, train, worker
from workbench.commands.shared import WRONG
from workbench.commands.stores import export_example, sync, ui
from workbench.errors import is_plain, one_sentence


def paragraphs(docstring: str) -> str:
    """Return a docstring with each of its paragraphs on one line, for rich to wrap."""
    parts = cleandoc(docstring).split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts)


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
example_app.command("export")(export_example)
app.add_typer(tricks_app, name="tricks")
app.add_typer(recipes_app, name="recipes")
app.command("metrics")(list_metrics)
for command in (
    prepare, train, ablate, worker, storage_proxy, status, report, compare, table, claims, watch,
    sync, ui,
):  # fmt: skip
    app.command(command.__name__.replace("_", "-"))(command)
app.add_typer(example_app, name="example")
for group in (app, tricks_app, recipes_app, example_app):
    for told in (group.registered_callback, *group.registered_commands):
        if told and told.callback:
            told.help = paragraphs(told.callback.__doc__ or "")


def main() -> None:
    """Run the command line: errors are one sentence, a traceback comes with --debug."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments, prog_name="workbench")
    except Exception as error:
        if len(arguments) < len(sys.argv) - 1:
            traceback.print_exc()
        else:
            hint = "" if is_plain(error) else " (add --debug for the traceback)"
            typer.echo(f"workbench: {one_sentence(error)}{hint}", err=True)
        sys.exit(WRONG)


if __name__ == "__main__":
    main()
