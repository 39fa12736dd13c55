"""``med-copilot bench``: a leaderboard of any models on any suites; the same command goes on where it stopped."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from copilot.config import parse
from copilot.evaluation.bench import BenchSettings, entries, model_recipe, read_models
from copilot.evaluation.leaderboard import leaderboard
from copilot.recipe.entry import INTERRUPTED
from copilot.recipe.supervisor import supervise


@click.command("bench")
@click.option("--models", required=True, type=click.Path(path_type=Path), help="YAML file with the models.")
@click.option("--suite", "suites", required=True, help="Suites, shipped names or .jsonl files, separated by commas.")
@click.option("--split", "splits", multiple=True, help="Split of the suites; may repeat. Default: all.")
@click.option("--attempts", default=1, show_default=True, help="Episodes per task, K.")
@click.option("--limit", type=int, help="Tasks of a suite, at most.")
@click.option("--max-turns", default=15, show_default=True, help="Model messages per episode.")
@click.option("--seed", default=0, show_default=True)
@click.option("--output", default=Path("runs/bench"), show_default=True, type=click.Path(path_type=Path))
def COMMAND(models: Path, suites: str, splits: tuple[str, ...], output: Path, **options: Any) -> None:
    """Play every model of a file on every suite and write leaderboard.html, leaderboard.md and leaderboard.json.

    Both success rates with intervals over tasks, Pass@K, tokens and cost, what became of the episodes, pairwise
    significance; the paper's published figures beside, marked as such.
    """
    from copilot.recipe.folder import write_json
    from copilot.report.leaderboard import write_leaderboard
    from copilot.report.provenance import provenance

    listed = read_models(models)
    raw = {"suites": [name for name in suites.split(",") if name], "splits": list(splits), **options}
    settings = parse(BenchSettings, raw, where="med-copilot bench")
    recipes = {model.name: model_recipe(model, settings, output) for model in listed}
    try:
        for model in listed:
            click.echo(f"{model.name}:")
            supervise(recipes[model.name], source=models.absolute(), env=os.environ)
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(INTERRUPTED)
    found = [entry for model in listed for entry in entries(model, recipes[model.name], settings.suites)]
    board = leaderboard(found, k=settings.attempts, seed=settings.seed)
    made = provenance(seed=settings.seed)
    shares = {model.name: model.sft_share for model in listed if model.sft_share is not None}
    made_by = f"{made['command']}, at {made['commit']}, {made['machine']}, seed {made['seed']}, {made['date']}"
    page, text = write_leaderboard(output, board, shares=shares, made_by=made_by)
    write_json(output / "leaderboard.json", made | board)
    click.echo(f"{page}\n{text}")
