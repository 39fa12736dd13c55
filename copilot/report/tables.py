"""Tables as data: what the page, the terminal and Markdown draw."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A table cell."""

    text: str
    """What it says."""
    tone: str = ""
    """``up``, ``down`` or nothing."""


@dataclass(frozen=True)
class Table:
    """A titled table."""

    title: str
    """Heading."""
    head: list[str]
    """Column names."""
    rows: list[list[Cell]]
    """Cells."""
    note: str = ""
    """A sentence below the heading."""
