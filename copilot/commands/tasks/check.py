"""``med-copilot tasks check``: every reference through the real sandbox and grader, and why some are dropped."""

import asyncio
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import click
from rich.console import Console
from rich.table import Table

from copilot.commands.tasks.listing import split_of
from copilot.commands.tasks.progress import bars
from copilot.envs.check import CheckReport, check_tasks
from copilot.envs.sandboxes.base import SandboxConfig, make_backend
from copilot.envs.sources.base import Source, get_source, source_names
from copilot.envs.task import Task
from copilot.errors import CopilotError, DataError

_SHOWN_FAILURES = 10
_FILE_WIDTH = 140


@dataclass(frozen=True)
class Row:
    """A line of the table: one split of one source."""

    source: Source
    split: str
    report: CheckReport
    dropped: Mapping[str, int]
    """Upstream's tasks that are left out, by reason; empty when only a part of the split was looked at."""

    @property
    def upstream(self) -> int:
        """Tasks upstream has."""
        return self.report.tasks + sum(self.dropped.values())

    def faults(self) -> list[str]:
        """What is below its floor."""
        found = []
        if self.report.reproduced < self.source.reproduced_floor * self.report.answerable:
            found.append("too few references are reproduced")
        if self.dropped and self.report.tasks < self.source.kept_floor.get(self.split, Fraction(0)) * self.upstream:
            found.append("too few of upstream's tasks are kept")
        if self.report.noop_passed and self.source.reproduced_floor == 1:
            found.append("an empty submission solves tasks")
        return found


@click.command()
@click.argument("sources", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All sources whose data is here.")
@click.option("--split", help="Only this split.")
@click.option("--limit", type=int, help="Tasks per split; the source's own number by default.")
@click.option("--seed", default=0, show_default=True, help="Stream of instances of generated sources.")
def check(sources: tuple[str, ...], every: bool, split: str | None, limit: int | None, seed: int) -> None:
    """Run the reference program of every task of SOURCES in the sandbox and grade it; exit code 1 below a floor."""
    if bool(sources) == every:
        raise click.UsageError("name sources, or give --all")
    asked = _here(split) if every else [
        (source, chosen) for source in map(get_source, sources) for chosen in available_splits(source, split)
    ]  # fmt: skip
    rows = asyncio.run(_check_all(asked, limit, seed))
    _print_table(rows)
    _print_reasons(rows)
    if any(row.faults() for row in rows):
        raise SystemExit(1)


def available_splits(source: Source, split: str | None) -> list[str]:
    """The splits to look at: the one asked for, else those whose first task can be had; all missing is an error."""
    if split is not None:
        return [split_of(source, split)]
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
            names = available_splits(source, None)
        except CopilotError as error:  # --all means all that can be checked here
            click.echo(f"skipped {source.name}: {error.what}", err=True)
            continue
        pairs += [(source, name) for name in names if split in (None, name)]
    return pairs


async def _check_all(asked: Iterable[tuple[Source, str]], limit: int | None, seed: int) -> list[Row]:
    # References are the project's own code, so any level of isolation will do.
    backend = make_backend(SandboxConfig(require="none"))
    await backend.start()
    rows = []
    try:
        with bars() as progress:
            for source, split in asked:
                tasks: list[Task] = list(source.tasks(split, limit=limit, seed=seed))
                bar = progress.add_task(f"{source.name} {split}", total=len(tasks))
                report = await check_tasks(source, tasks, backend, on_task=lambda bar=bar: progress.advance(bar))  # type: ignore[misc]
                rows.append(Row(source, split, report, {} if limit is not None else source.dropped(split)))
    finally:
        await backend.close()
    return rows


def _print_table(rows: Iterable[Row]) -> None:
    names = ("source", "split", "upstream", "kept", "floor", "unanswerable", "reproduced", "floor", "no-op passes")
    table = Table(*names)
    for row in rows:
        report, floor = row.report, row.source.kept_floor.get(row.split)
        look_alike = " (look-alike)" if row.split in row.source.look_alike else ""
        table.add_row(
            row.source.name + look_alike,
            row.split,
            str(row.upstream) if floor is not None else "made here",
            f"{report.tasks} ({report.tasks / max(row.upstream, 1):.1%})" if floor is not None else str(report.tasks),
            f"{float(floor):.0%}" if floor is not None else "",
            str(report.unanswerable),
            f"[{'red' if row.faults() else 'green'}]{report.reproduced}/{report.answerable}[/]",
            f"{float(row.source.reproduced_floor):.0%}",
            str(report.noop_passed),
        )
    Console(width=None if sys.stdout.isatty() else _FILE_WIDTH).print(table)


def _print_reasons(rows: Iterable[Row]) -> None:
    """Why tasks were dropped, what is below a floor, and the first references that are not reproduced."""
    console = Console(highlight=False)
    for row in rows:
        name = f"{row.source.name} {row.split}"
        for reason, count in sorted(row.dropped.items(), key=lambda item: -item[1]):
            console.print(f"{name}: {count} dropped: {reason}", markup=False, soft_wrap=True)
        for fault in row.faults():
            console.print(f"{name}: {fault}", markup=False, style="red")
        for failure in row.report.failures[:_SHOWN_FAILURES]:
            console.print(f"{failure.task_id}: {failure.reason}", markup=False, soft_wrap=True)
        if len(row.report.failures) > _SHOWN_FAILURES:
            console.print(f"... and {len(row.report.failures) - _SHOWN_FAILURES} more in {name}")
