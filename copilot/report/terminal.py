"""Evaluation tables for the terminal: the same figures as the page, drawn by rich."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from copilot.report import tables
from copilot.report.page import evaluation_tables

TONES = {"up": "bold green", "down": "bold red", "": ""}


def rates_table(evaluation: dict[str, Any]) -> Iterator[Table]:
    """The page's first tables: success by policy and split, and the paired lifts."""
    for table in evaluation_tables(evaluation)[: 2 if evaluation["comparisons"] else 1]:
        yield drawn(table)


def drawn(table: tables.Table) -> Table:
    """A table of the page, for a terminal."""
    shown = Table(title=table.title, caption=table.note or None, title_justify="left")
    for i, head in enumerate(table.head):
        shown.add_column(head, justify="left" if i == 0 else "right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*(f"[{TONES[cell.tone]}]{cell.text}[/]" if cell.tone else cell.text for cell in row))
    return shown
