"""``med-copilot tasks list`` and ``show``."""

import click
from rich.console import Console
from rich.table import Table

from copilot.envs.sources.base import Source, get_source, source_names
from copilot.errors import DataError, did_you_mean


@click.command(name="list")
def list_sources() -> None:
    """Show the task sources."""
    table = Table("source", "what", "the paper's", "splits", "licence", "credentialed")
    for source in map(get_source, source_names()):
        splits = ", ".join(f"{s} (look-alike)" if s in source.look_alike else s for s in source.splits)
        closed = "yes" if source.credentialed else "no"
        table.add_row(source.name, source.title, source.paper_row, splits, source.licence, closed)
    Console().print(table)


@click.command()
@click.argument("source")
@click.option("--split", help="Split; the source's first one by default.")
@click.option("--limit", default=10, show_default=True, help="Number of tasks.")
@click.option("--seed", default=0, show_default=True, help="Stream of instances of generated sources.")
@click.option("--context", is_flag=True, help="Also print what all tasks of the source share.")
def show(source: str, split: str | None, limit: int, seed: int, context: bool) -> None:
    """Print tasks of SOURCE with their references."""
    world = get_source(source)
    console = Console(highlight=False)
    for number, task in enumerate(world.tasks(split_of(world, split), limit=limit, seed=seed)):
        if context and number == 0:
            console.print(task.context, markup=False)
        console.print(f"\n[bold]{task.id}[/]  {task.category}")
        console.print(task.question, markup=False, soft_wrap=True)
        console.print(task.reference.program or "(no program)", markup=False, soft_wrap=True, style="cyan")
        console.print(str(task.reference.answer)[:500], markup=False, soft_wrap=True, style="green")


def split_of(source: Source, split: str | None) -> str:
    """The split asked for, or the source's first one.

    Raises:
        DataError: The source has no such split.
    """
    if split is not None and split not in source.splits:
        raise DataError(f"{source.name} has no split {split!r}", remedy=did_you_mean(split, source.splits))
    return split or source.splits[0]
