"""``med-copilot run``: run a recipe, or say what it would do."""

import sys
from pathlib import Path

import click

from copilot.recipe.entry import INTERRUPTED, run_recipe


@click.command("run")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and what is done already; start nothing.")
def COMMAND(recipe: Path, overrides: tuple[str, ...], dry_run: bool) -> None:
    """Run RECIPE, a YAML file, from wherever an earlier run of it stopped.

    KEY=VALUE overrides a key: seed=1, model.path=FOLDER, or a stage's by its id: sft.training.learning_rate=1e-4.
    """
    try:
        run_recipe(recipe, overrides, dry_run=dry_run)
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(INTERRUPTED)
