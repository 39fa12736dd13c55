"""Tables of the page as Markdown."""

from collections.abc import Iterable

from copilot.report.blocks import markdown_table
from copilot.report.tables import Cell, Table


def markdown(title: str, subtitle: str, tables: Iterable[Table]) -> str:
    """A page of tables."""
    parts = [f"# {title}", subtitle, *(text for table in tables for text in _table(table))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table) -> list[str]:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    return [f"## {table.title}", table.note, markdown_table(table.head, rows)]


def _cell(cell: Cell) -> str:
    text = cell.text.replace("|", "\\|")
    return f"**{text}**" if cell.tone else text
