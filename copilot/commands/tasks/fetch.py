"""``med-copilot tasks fetch``: open data from its official place, checked; for the rest, where to apply."""

import os
from pathlib import Path

import click

from copilot.envs.fetch import fetch_file
from copilot.envs.sources.base import get_source
from copilot.errors import DataError


@click.command()
@click.argument("source")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, and fetch nothing.")
def fetch(source: str, dry_run: bool) -> None:
    """Download what is open of SOURCE's data into MED_COPILOT_DATA; say where to apply for the rest."""
    world = get_source(source)
    if not world.downloads and not world.access:
        click.echo(f"{source} needs no data: its tasks are made here")
        return
    parent = os.environ.get("MED_COPILOT_DATA")
    if not parent and world.downloads and not dry_run:
        raise DataError("MED_COPILOT_DATA is not set", remedy="set it to the folder that the data should go to")
    faults = []
    for file in world.downloads:
        target = Path(parent or "$MED_COPILOT_DATA") / file.path
        if dry_run:
            click.echo(f"{file.url} -> {target} ({file.licence})")
            continue
        try:
            click.echo(f"{target}: {'fetched and checked' if fetch_file(file, target) else 'there, and checked'}")
        except DataError as error:  # the others may be had; all that failed are named at the end
            faults.append(error)
            click.echo(f"{target}: {error.what}", err=True)
    for access in world.access:
        click.echo(f"\n{access.name}\n  apply: {access.apply}\n  put:   {access.put}")
    if faults:
        raise DataError(f"{len(faults)} of {len(world.downloads)} files could not be fetched", remedy=faults[0].remedy)
