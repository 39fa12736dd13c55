"""Tables of the page as Markdown."""

from collections.abc import Iterable

from copilot.report.tables import Cell, Table


def markdown(title: str, subtitle: str, tables: Iterable[Table]) -> str:
    """A page of tables."""
    parts = [f"# {title}", subtitle, *(text for table in tables for text in _table(table))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table) -> list[str]:
    lines = [_line(table.head), _line(["---"] * len(table.head)), *(_line(map(_cell, row)) for row in table.rows)]
    return [f"## {table.title}", table.note, "\n".join(lines)]


def _cell(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.tone else cell.text


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
