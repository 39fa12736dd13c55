"""``med-copilot tasks counts``: instances and categories here next to the paper's Table 2."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import click

from copilot.commands.tasks.check import available_splits
from copilot.envs.paper_tasks import CATEGORIES, INSTANCES, TABLE_2, PaperRow
from copilot.envs.sources.base import Source, get_source, source_names
from copilot.errors import CopilotError
from copilot.report.blocks import fill_blocks, markdown_table
from copilot.report.provenance import commit

_MOST = 10_000


@dataclass(frozen=True)
class Counts:
    """What is here of a source."""

    source: Source
    instances: int
    """Tasks over all splits, at their default sizes."""
    categories: int
    templates: int
    upstream: int
    """Upstream's tasks in the files that are here; 0 for generated ones."""
    look_alike: bool
    """Whether all of them are look-alikes."""


@click.command()
@click.option("--docs", default="docs/tasks.md", show_default=True, help="Page whose tables are filled.")
def counts(docs: str) -> None:
    """Count instances and categories of all sources whose data is here, next to the paper's Table 2."""
    found = {name: _count(get_source(name)) for name in source_names()}
    here = [row for row in found.values() if row is not None]
    blocks = {"counts": paper_table(here), "sources": source_table(here)}
    for block in blocks.values():
        click.echo(block + "\n")
    if Path(docs).is_file():
        fill_blocks(Path(docs), {name: f"{body}\n\nCounted at {commit()}." for name, body in blocks.items()})


def _count(source: Source) -> Counts | None:
    try:
        splits = available_splits(source, None)
    except CopilotError as error:  # its data is not here
        click.echo(f"skipped {source.name}: {error.what}", err=True)
        return None
    tasks = [task for split in splits for task in islice(source.tasks(split), _MOST)]
    dropped = sum(sum(source.dropped(split).values()) for split in splits)
    return Counts(
        source=source,
        instances=len(tasks),
        categories=len({task.category for task in tasks}),
        templates=len({task.template for task in tasks}),
        upstream=len(tasks) + dropped if source.kept_floor else 0,
        look_alike=set(splits) <= source.look_alike,
    )


def paper_table(here: Sequence[Counts]) -> str:
    """The twelve sources: the paper's numbers, what open data gives, what credentials add."""
    head = [
        "the paper's",
        "categories",
        "instances",
        "here",
        "categories",
        "instances with open data",
        "with credentials",
    ]
    rows = [_paper_line(row, [c for c in here if c.source.paper_row == row.name]) for row in TABLE_2]
    twelve = [c for c in here if c.source.paper_row]
    rows.append(
        [
            "**all**",
            str(CATEGORIES),
            f"{INSTANCES:,}",
            f"{len({c.source.paper_row for c in twelve})} of {len(TABLE_2)}",
            str(sum(c.categories for c in twelve)),
            f"{sum(c.instances for c in twelve):,}",
            f"{INSTANCES:,}",
        ]
    )
    return markdown_table(head, rows)


def _paper_line(row: PaperRow, found: Sequence[Counts]) -> list[str]:
    names = ", ".join(f"{c.source.name}{' (look-alike)' if c.look_alike else ''}" for c in found)
    return [
        row.name,
        str(row.categories),
        f"{row.instances:,}",
        names or "its data is not here",
        str(sum(c.categories for c in found)),
        f"{sum(c.instances for c in found):,}",
        f"{row.instances:,}",
    ]


def source_table(here: Iterable[Counts]) -> str:
    """All sources, the further ones too."""
    head = ["source", "what", "splits", "instances", "of upstream's", "categories", "templates", "licence"]
    rows = [
        [
            c.source.name,
            c.source.title,
            ", ".join(f"{s} (look-alike)" if s in c.source.look_alike else s for s in c.source.splits),
            f"{c.instances:,}" + ("" if c.upstream else " and more on demand"),
            f"{c.upstream:,}" if c.upstream else "generated",
            str(c.categories),
            str(c.templates),
            c.source.licence,
        ]
        for c in here
    ]
    return markdown_table(head, rows)
