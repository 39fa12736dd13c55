"""``med-copilot tasks``: which tasks there are, what they ask, whether they are sound, and cutting suites from them."""

import asyncio
import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from copilot.envs.check import CheckReport, check_tasks
from copilot.envs.sandboxes.base import SandboxConfig, make_backend
from copilot.envs.sources.base import Source, get_source, source_names
from copilot.envs.suites import Cut, build_suite, suite_hash, write_suite
from copilot.envs.task import Task
from copilot.errors import CopilotError, DataError, did_you_mean

FLOORS = {("ehrsql2024", "train"): Fraction(4657, 4674), ("ehrsql2024", "valid"): Fraction(927, 931)}
"""Least share of programs that must give the reference; 1 for all other splits. EHRSQL-2024's gold answers were made
on tables of which two had to be rebuilt, so a few are not reproduced."""

_SHOWN_FAILURES = 10


@click.group(name="tasks")
def COMMAND() -> None:
    """List, show and check tasks; cut suites."""


@COMMAND.command(name="list")
def list_sources() -> None:
    """Show the task sources."""
    table = Table("source", "what", "splits", "licence", "credentialed")
    for source in map(get_source, source_names()):
        splits = ", ".join(source.splits)
        table.add_row(source.name, source.title, splits, source.licence, "yes" if source.credentialed else "no")
    Console().print(table)


@COMMAND.command()
@click.argument("source")
@click.option("--split", help="Split; the source's first one by default.")
@click.option("--limit", default=10, show_default=True, help="Number of tasks.")
@click.option("--seed", default=0, show_default=True, help="Stream of instances of generated sources.")
@click.option("--context", is_flag=True, help="Also print what all tasks of the source share.")
def show(source: str, split: str | None, limit: int, seed: int, context: bool) -> None:
    """Print tasks of SOURCE with their references."""
    world = get_source(source)
    console = Console(highlight=False)
    for number, task in enumerate(world.tasks(_split(world, split), limit=limit, seed=seed)):
        if context and number == 0:
            console.print(task.context, markup=False)
        console.print(f"\n[bold]{task.id}[/]  {task.category}")
        console.print(task.question, markup=False, soft_wrap=True)
        console.print(task.reference.program or "(no program)", markup=False, soft_wrap=True, style="cyan")
        console.print(str(task.reference.answer)[:500], markup=False, soft_wrap=True, style="green")


@COMMAND.command()
@click.argument("sources", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All sources whose data is here.")
@click.option("--split", help="Only this split.")
@click.option("--limit", type=int, help="Tasks per split; the source's own number by default.")
@click.option("--seed", default=0, show_default=True, help="Stream of instances of generated sources.")
def check(sources: tuple[str, ...], every: bool, split: str | None, limit: int | None, seed: int) -> None:
    """Run the reference program of every task of SOURCES in the sandbox and grade it; exit code 1 below the floor."""
    if bool(sources) == every:
        raise click.UsageError("name sources, or give --all")
    asked = _here(split) if every else [
        (source, chosen) for source in map(get_source, sources) for chosen in _available(source, split)
    ]  # fmt: skip
    reports = asyncio.run(_check_all(asked, limit, seed))
    below = _print_reports(reports)
    if below:
        raise SystemExit(1)


@COMMAND.command()
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
        split=_split(get_source(source), split),
        count=int(count),
        seed=seed,
        templates=[name for name in templates.split(",") if name],
    )


def _split(source: Source, split: str | None) -> str:
    if split is not None and split not in source.splits:
        raise DataError(f"{source.name} has no split {split!r}", remedy=did_you_mean(split, source.splits))
    return split or source.splits[0]


def _available(source: Source, split: str | None) -> list[str]:
    """The splits to look at: the one asked for, else those whose first task can be had; all missing is an error."""
    if split is not None:
        return [_split(source, split)]
    there, faults = [], []
    for name in source.splits:
        try:
            next(iter(source.tasks(name, limit=1)), None)
        except DataError as error:  # a user's copy need not have every split
            faults.append(error)
        else:
            there.append(name)
    if not there:
        raise faults[0]
    return there


def _here(split: str | None) -> list[tuple[Source, str]]:
    """Splits of all sources whose data is here; the others are named on standard error."""
    pairs = []
    for source in map(get_source, source_names()):
        try:
            names = _available(source, None)
        except CopilotError as error:  # --all means all that can be checked here
            click.echo(f"skipped {source.name}: {error.what}", err=True)
            continue
        pairs += [(source, name) for name in names if split in (None, name)]
    return pairs


async def _check_all(
    asked: Iterable[tuple[Source, str]], limit: int | None, seed: int
) -> list[tuple[Source, str, CheckReport]]:
    # References are the project's own code, so any level of isolation will do.
    backend = make_backend(SandboxConfig(require="none"))
    await backend.start()
    reports = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            for source, split in asked:
                tasks: list[Task] = list(source.tasks(split, limit=limit, seed=seed))
                bar = progress.add_task(f"{source.name} {split}", total=len(tasks))
                report = await check_tasks(source, tasks, backend, on_task=lambda bar=bar: progress.advance(bar))  # type: ignore[misc]
                reports.append((source, split, report))
    finally:
        await backend.close()
    return reports


def _print_reports(reports: list[tuple[Source, str, CheckReport]]) -> list[str]:
    """Print the table and the first failures; return the splits below their floor."""
    console = Console()
    table = Table(
        "source", "split", *(name for name in ("tasks", "unanswerable", "reproduced", "floor", "no-op passes"))
    )
    below = []
    for source, split, report in reports:
        floor = math.floor(FLOORS.get((source.name, split), Fraction(1)) * report.answerable)
        sound = report.reproduced >= floor and _unsolved_by_noop(source, report)
        if not sound:
            below.append(f"{source.name} {split}")
        table.add_row(
            source.name,
            split,
            str(report.tasks),
            str(report.unanswerable),
            f"[{'green' if sound else 'red'}]{report.reproduced}/{report.answerable}[/]",
            str(floor),
            str(report.noop_passed),
        )
    console.print(table)
    for source, split, report in reports:
        for failure in report.failures[:_SHOWN_FAILURES]:
            console.print(f"{failure.task_id}: {failure.reason}", markup=False, soft_wrap=True)
        if len(report.failures) > _SHOWN_FAILURES:
            console.print(f"... and {len(report.failures) - _SHOWN_FAILURES} more in {source.name} {split}")
    return below


def _unsolved_by_noop(source: Source, report: CheckReport) -> bool:
    """A generated source owes tasks that nobody solves by doing nothing; one upstream gold answer is an empty list."""
    return report.noop_passed == 0 or source.name == "ehrsql2024"
