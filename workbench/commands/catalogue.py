"""The commands that list tricks and recipes."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from workbench.commands.options import JsonOption, PluginOption
from workbench.commands.shared import show


class ShownByName(TyperGroup):
    """A group whose command `show` may be left out, and that lists what there is without a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take `list`, which is no name, for the bare command."""
        return super().parse_args(ctx, args[1:] if args[:1] == ["list"] else args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take a first word that is no command for a name to show."""
        is_name = bool(args) and self.get_command(ctx, args[0]) is None
        return super().resolve_command(ctx, ["show", *args] if is_name else args)


tricks_app = typer.Typer(help="List tricks, or show one.", invoke_without_command=True, cls=ShownByName)
recipes_app = typer.Typer(
    help="List recipes, show one, or compare two.", invoke_without_command=True, cls=ShownByName
)


@tricks_app.callback()
def list_tricks(
    context: typer.Context,
    as_json: JsonOption = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/tricks.md, which leaves plugins out.")
    ] = False,
    plugin: PluginOption = None,
) -> None:
    """List every trick, in the order in which the PPO update calls them.

    Examples: workbench tricks

    workbench tricks --plugin my_trick.py
    """
    from workbench.registry import load_plugins

    load_plugins(plugin or [])
    if context.invoked_subcommand:
        return
    if as_markdown:
        from workbench.catalogue.pages import tricks_page

        typer.echo(tricks_page(), nl=False)
        return
    from workbench.catalogue.describe import trick_facts, trick_table
    from workbench.registry import registry

    every = list(registry().values())
    show([trick_facts(kind) for kind in every] if as_json else trick_table(), as_json)


@tricks_app.command("show")
def show_trick(
    name: Annotated[str, typer.Argument(help="Trick, such as value_clip.")],
    as_json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """Show a trick's equation, variant, source and hyper-parameters.

    Examples: workbench tricks show value_clip

    workbench tricks show my_trick --plugin my_trick.py
    """
    from workbench.catalogue.describe import find_trick, trick_facts, trick_page
    from workbench.registry import load_plugins

    load_plugins(plugin or [])
    kind = find_trick(name)
    show(trick_facts(kind) if as_json else trick_page(kind), as_json)


@recipes_app.callback()
def list_recipes(
    context: typer.Context,
    as_json: JsonOption = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/recipes.md.")] = False,
) -> None:
    """List the published recipes.

    Example: workbench recipes --json
    """
    if context.invoked_subcommand:
        return
    if as_markdown:
        from workbench.catalogue.pages import recipes_page

        typer.echo(recipes_page(), nl=False)
        return
    from workbench.catalogue.describe import recipe_facts, recipe_table
    from workbench.recipes import recipes

    every = list(recipes().values())
    show([recipe_facts(recipe) for recipe in every] if as_json else recipe_table(every), as_json)


@recipes_app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="Recipe, such as ppo_max.")], as_json: JsonOption = False
) -> None:
    """Show what a recipe is, and its tricks in the order in which they act, each with its source.

    Example: workbench recipes show ppo_max
    """
    from workbench.catalogue.describe import recipe_facts, recipe_page
    from workbench.recipes import find_recipe

    recipe = find_recipe(name)
    show(recipe_facts(recipe) if as_json else recipe_page(recipe), as_json)


@recipes_app.command("diff")
def diff_recipes(
    first: Annotated[str, typer.Argument(help="Recipe.")],
    second: Annotated[str, typer.Argument(help="Recipe to compare it with.")],
) -> None:
    """Show the tricks that one of two recipes lacks or sets otherwise.

    Example: workbench recipes diff vanilla ppo_max
    """
    from workbench.catalogue.describe import recipe_difference
    from workbench.recipes import find_recipe

    show(recipe_difference(find_recipe(first), find_recipe(second)))


def list_metrics(
    as_json: JsonOption = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/monitors.md.")] = False,
) -> None:
    """List every metric that a run logs: unit, estimator and source.

    Example: workbench metrics --json
    """
    from dataclasses import asdict

    from workbench.catalogue.metrics import metric_table, monitors_page
    from workbench.glossary import GLOSSARY

    if as_markdown:
        typer.echo(monitors_page(), nl=False)
        return
    show([asdict(metric) for metric in GLOSSARY.values()] if as_json else metric_table(), as_json)
