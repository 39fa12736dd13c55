"""The one way into a recipe: ``med-copilot run FILE``, ``accelerate launch FILE`` and ``./FILE`` all end here."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from copilot.errors import CopilotError
from copilot.recipe.folder import recipe_yaml
from copilot.recipe.loader import load_recipe
from copilot.recipe.plan import make_plan, run_root
from copilot.recipe.ranks import Ranks
from copilot.recipe.secrets import Scrubber
from copilot.recipe.supervisor import supervise

INTERRUPTED = 130


def run_recipe(path: str | Path, overrides: Sequence[str] = (), *, dry_run: bool = False) -> None:
    """Run a recipe to its end, or say what that would be.

    Args:
        path: The YAML file.
        overrides: See :func:`~copilot.recipe.loader.load_recipe`.
        dry_run: Print the resolved recipe and every stage's cache state; start and write nothing.

    Raises:
        CopilotError: It cannot be run, or a stage failed.
    """
    recipe = load_recipe(path, overrides)
    if not dry_run:
        supervise(recipe, source=Path(path).absolute(), env=os.environ)
    elif Ranks.from_env(os.environ).rank == 0:
        click.echo(Scrubber(os.environ)(recipe_yaml(recipe)), nl=False)
        click.echo(f"# run folder: {run_root(recipe)}")
        for planned in make_plan(recipe):
            click.echo(f"# {planned.state:7} {planned.config.id} ({planned.kind}): {planned.folder.name}")


def main(path: str, argv: Sequence[str] | None = None) -> None:
    """What a recipe file calls when it is run as a program; a failure ends the process with its exit code.

    Args:
        path: The recipe file.
        argv: Overrides and options; ``None``: the command line's.
    """
    from copilot.commands.run import COMMAND

    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        COMMAND.main(args=[path, *arguments], prog_name="med-copilot run", standalone_mode=False)
    except CopilotError as error:
        if Ranks.from_env(os.environ).rank == 0:
            click.echo("\n".join(error.lines()), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
