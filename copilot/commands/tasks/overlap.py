"""``med-copilot tasks overlap``: what the training and the held-out tasks of a suite have in common."""

from collections import defaultdict
from pathlib import Path

import click

from copilot.data.decontaminate import task_overlap
from copilot.envs.suites import find_suite, read_suite, suite_hash
from copilot.envs.task import Task
from copilot.report.blocks import fill_blocks, markdown_table


@click.command()
@click.argument("suites", nargs=-1, required=True)
@click.option("--n", default=10, show_default=True, help="Words in a row that count as an overlap.")
@click.option("--docs", default="docs/tasks.md", show_default=True, help="Page whose table is filled.")
def overlap(suites: tuple[str, ...], n: int, docs: str) -> None:
    """Report, per held-out split and source of SUITES, equal questions and shared runs of words."""
    table = overlap_table(suites, n=n)
    click.echo(table)
    if Path(docs).is_file():
        fill_blocks(Path(docs), {"suite_overlap": table})


def overlap_table(names: tuple[str, ...], *, n: int = 10) -> str:
    """The report as a table in Markdown."""
    head = ["suite", "source", "held-out split", "train", "held out", "same question", f"{n} words in a row"]
    rows = []
    for name in names:
        path = find_suite(name)
        by_part: dict[tuple[str, str], list[Task]] = defaultdict(list)
        train: dict[str, list[Task]] = defaultdict(list)
        for task in read_suite(path):
            if task.split.startswith("train"):
                train[task.source].append(task)
            else:
                by_part[task.source, task.split].append(task)
        for (source, split), tasks in sorted(by_part.items()):
            found = task_overlap(train[source], tasks, n=n)
            rows.append([f"{name} ({suite_hash(path)[:12]})", source, split, *(str(value) for value in found.values())])
    return markdown_table(head, rows)
