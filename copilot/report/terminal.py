"""Evaluation tables for the terminal: the same figures as the page, drawn by rich."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from copilot.report.page import evaluation_tables

TONES = {"up": "bold green", "down": "bold red", "": ""}


def rates_table(evaluation: dict[str, Any]) -> Iterator[Table]:
    """The page's first tables: success by policy and split, and the paired lifts."""
    for table in evaluation_tables(evaluation)[: 2 if evaluation["comparisons"] else 1]:
        drawn = Table(title=table.title, caption=table.note or None, title_justify="left")
        for i, head in enumerate(table.head):
            drawn.add_column(head, justify="left" if i == 0 else "right", no_wrap=True)
        for row in table.rows:
            drawn.add_row(*(f"[{TONES[cell.tone]}]{cell.text}[/]" if cell.tone else cell.text for cell in row))
        yield drawn
