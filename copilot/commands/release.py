"""``med-copilot release``: a run's trained stage as a folder that others load in a line."""

from pathlib import Path

import click
from rich.console import Console

from copilot.models.quiet import quiet_transformers


@click.command(name="release")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--stage", required=True, help="Id of the training stage.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option("--merge", is_flag=True, help="Merge an adapter into its base model and write full weights.")
@click.option("--name", default="", help="Name of the checkpoint; default: RECIPE-STAGE.")
def COMMAND(run: Path, stage: str, out: Path, merge: bool, name: str) -> None:
    """Write stage STAGE of run folder RUN as a releasable checkpoint."""
    from copilot.release.export import export
    from copilot.release.run_folder import read_stage

    found = read_stage(run, stage)
    info = found.info.evolve(name=name) if name else found.info
    with quiet_transformers():
        folder = export(found.weights, out, info, merge=merge)
    Console().print(f'{folder}: copilot.load("{folder}")', soft_wrap=True)
