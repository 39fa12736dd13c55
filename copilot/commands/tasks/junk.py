"""``med-copilot tasks junk``: what programs that know nothing score, strict beside the published rules."""

import asyncio
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click

from copilot.commands.tasks.check import available_splits
from copilot.commands.tasks.progress import bars
from copilot.envs.junk import TypeRates, abstention, junk_rates, summary_of
from copilot.envs.sandboxes.base import SandboxConfig, make_backend
from copilot.envs.sources.base import Source, get_source, source_names
from copilot.envs.task import Task
from copilot.errors import CopilotError
from copilot.report.blocks import fill_blocks, markdown_table, origin_line
from copilot.report.provenance import provenance

_EVIDENCE_TASKS = 10
"""Tasks per source whose grader needs a sandbox for every submission."""


@click.command()
@click.argument("sources", nargs=-1)
@click.option("--limit", default=2000, show_default=True, help="Tasks per split.")
@click.option("--out", default="results/junk.json", show_default=True, help="Where the rates go.")
@click.option("--docs", default="docs/grading.md", show_default=True, help="Page whose table is filled.")
def junk(sources: tuple[str, ...], limit: int, out: str, docs: str) -> None:
    """Try every junk program on SOURCES (all whose data is here); exit code 1 when one passes too often."""
    rates, silence = asyncio.run(_measure(sources or tuple(source_names()), limit))
    record = {
        **provenance(seed=0),
        "summary": summary_of(rates),
        "abstention": silence,
        "types": [row.model_dump() for row in rates],
    }
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    table = junk_table(rates)
    click.echo(table)
    if Path(docs).is_file():
        apart = balance_table(rates, silence)
        parts = (_summary_text(record["summary"]), table, apart, origin_line(record))
        fill_blocks(Path(docs), {"junk": "\n\n".join(parts)})
    over = [f"{row.source} {row.type}: {row.worst[0]}" for row in rates if row.worst[1] > row.bound]
    if over:
        click.echo("above the bound: " + "; ".join(over), err=True)
        raise SystemExit(1)


async def _measure(names: Sequence[str], limit: int) -> tuple[list[TypeRates], dict[str, Any]]:
    backend = make_backend(SandboxConfig(require="none"))  # junk is the project's own
    await backend.start()
    rates: list[TypeRates] = []
    silence: dict[str, Any] = {}
    try:
        with bars() as progress:
            bar = progress.add_task("", total=len(names))
            for source in map(get_source, names):
                progress.update(bar, description=source.name)
                tasks = _tasks(source, limit)
                if tasks:
                    rates += await junk_rates(source, tasks, backend)
                if found := abstention(tasks):
                    silence[source.name] = found
                progress.advance(bar)
    finally:
        await backend.close()
    return rates, silence


def _tasks(source: Source, limit: int) -> list[Task]:
    """Of all splits that are here, so many each; none when the source's data is not here."""
    if type(source).evidence is not Source.evidence:
        limit = min(limit, _EVIDENCE_TASKS)
    try:
        splits = available_splits(source, None)
    except CopilotError as error:  # its data is not here
        click.echo(f"skipped {source.name}: {error.what}", err=True)
        return []
    return [task for split in splits for task in islice(source.tasks(split, limit=limit), limit)]


def junk_table(rates: Sequence[TypeRates]) -> str:
    """The worst junk program of each source and answer type, strict beside paper."""
    head = ["source", "answer type", "tasks", "distinct", "most common", "bound", "worst junk, strict", "in paper mode"]
    rows = []
    for row in rates:
        paper = row.worst_paper
        rows.append(
            [
                row.source,
                row.type,
                str(row.tasks),
                str(row.distinct),
                f"{row.majority:.1%}",
                f"{row.bound:.1%}",
                f"{row.worst[1]:.1%} ({row.worst[0]})" if row.worst[1] else "0.0%",
                f"{paper[1]:.1%} ({paper[0]})" if paper else "no rule",
            ]
        )
    return markdown_table(head, rows)


def balance_table(rates: Sequence[TypeRates], silence: dict[str, Any]) -> str:
    """What a constant gets where there are two classes: abstaining or not, true or false."""
    rows = [
        [
            name,
            "always abstaining",
            f"{row['share_unanswerable']:.1%}",
            f"{row['balanced_accuracy']:.1%}",
        ]
        for name, row in sorted(silence.items())
    ]
    rows += [
        [row.source, "best junk on booleans", f"{row.worst[1]:.1%}", f"{row.balanced:.1%}"]
        for row in rates
        if row.balanced is not None
    ]
    return markdown_table(["source", "who", "right on", "balanced accuracy"], rows)


def _summary_text(summary: dict[str, float]) -> str:
    return (
        f"Strict, answer types with more than 50 distinct values: at most {summary['strict_max_pass_rate']:.1%}. "
        f"Strict, elsewhere: at most {100 * summary['strict_max_excess_over_majority']:+.1f} points against the most "
        f"common answer. By the published rules: up to {summary['paper_max_pass_rate']:.1%}."
    )
