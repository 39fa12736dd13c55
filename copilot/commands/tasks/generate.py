"""``med-copilot tasks generate``: a file of verified tasks, as many as wanted."""

import asyncio
from pathlib import Path

import click

from copilot.commands.tasks.listing import split_of
from copilot.commands.tasks.progress import bars
from copilot.envs.generate import Made
from copilot.envs.generate import generate as generate_tasks
from copilot.envs.sandboxes.base import SandboxConfig, make_backend
from copilot.envs.sources.base import Source, get_source
from copilot.envs.suites import suite_hash


@click.command()
@click.option("--source", required=True, help="Task source.")
@click.option("--n", "count", type=int, required=True, help="Tasks wanted in the file.")
@click.option("--split", help="Split; the source's first one by default.")
@click.option("--seed", default=0, show_default=True, help="Stream of instances.")
@click.option("--out", help="File; by default SOURCE-SPLIT-SEED.jsonl. What it holds is kept and gone on from.")
@click.option("--workers", type=int, help="Sandboxes at a time; by default one per core.")
def generate(source: str, count: int, split: str | None, seed: int, out: str | None, workers: int | None) -> None:
    """Generate tasks: stream, leave out repeated questions, verify every reference in parallel, resume."""
    world = get_source(source)
    chosen = split_of(world, split)
    path = Path(out or f"{source}-{chosen}-{seed}.jsonl")
    made = asyncio.run(_run(world, chosen, path, count, seed, workers))
    click.echo(
        f"{made.written} tasks in {path} ({made.resumed} were there), {made.repeated} repeated questions and "
        f"{made.failed} unverified tasks left out, {made.per_second:.0f} verified tasks/s, sha256 {suite_hash(path)}"
    )
    for task_id, reason in made.reasons.items():
        click.echo(f"{task_id}: {reason}", err=True)
    if made.written < count:
        click.echo(f"the source has no more {chosen} tasks", err=True)
        raise SystemExit(1)


async def _run(source: Source, split: str, path: Path, count: int, seed: int, workers: int | None) -> Made:
    backend = make_backend(SandboxConfig(require="none"))  # references are the project's own code
    await backend.start()
    try:
        with bars() as progress:
            bar = progress.add_task(f"{source.name} {split}", total=count)
            return await generate_tasks(
                source,
                split,
                path,
                backend,
                count=count,
                seed=seed,
                workers=workers,
                on_task=lambda written: progress.update(bar, completed=written),
            )
    finally:
        await backend.close()
