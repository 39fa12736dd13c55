"""``med-copilot tasks suite``: cut a suite file from sources."""

from pathlib import Path

import click

from copilot.commands.tasks.listing import split_of
from copilot.envs.sources.base import get_source
from copilot.envs.suites import Cut, build_suite, suite_hash, write_suite


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--take",
    "takes",
    multiple=True,
    required=True,
    metavar="SOURCE:SPLIT:COUNT[:TEMPLATE,...]",
    help="A share, of all templates or of those named; may repeat.",
)
@click.option("--seed", default=0, show_default=True, help="Stream of instances of generated sources.")
def suite(file: Path, takes: tuple[str, ...], seed: int) -> None:
    """Cut a suite FILE from sources, balanced over question templates, and print its hash."""
    count = write_suite(file, build_suite([_cut(take, seed) for take in takes]))
    click.echo(f"{count} tasks, sha256 {suite_hash(file)}")


def _cut(take: str, seed: int) -> Cut:
    source, split, count, templates = [*take.split(":"), "", "", ""][:4]
    if not count.isdigit() or not 2 <= take.count(":") <= 3:
        raise click.UsageError(f"--take {take!r} is not SOURCE:SPLIT:COUNT[:TEMPLATE,...]")
    return Cut(
        source=source,
        split=split_of(get_source(source), split),
        count=int(count),
        seed=seed,
        templates=[name for name in templates.split(",") if name],
    )
