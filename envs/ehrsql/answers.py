"""The typed answer of a gold query: what its rows are decides what a right submission is.

One cell becomes a truth value, a whole number, a real, a moment or a text; a column of texts a set, since such a
question never asks how often something is listed; anything else stays rows.
"""

import re
from collections.abc import Sequence

from copilot.envs.ehrsql.sql import asks_yes_or_no
from copilot.reward.answers import (
    Answer,
    BooleanAnswer,
    DateAnswer,
    IntegerAnswer,
    RealAnswer,
    RowsAnswer,
    Scalar,
    SetAnswer,
    StringAnswer,
)
from copilot.reward.values import read_iso_cell

MOST_ROWS = 100
"""Longer results are no answer that anybody reads."""

_REL_TOL = 1e-3
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def typed_answer(rows: Sequence[Sequence[Scalar]], sql: str) -> Answer:
    """The reference for the rows of ``sql``; there is at least one, and no cell is null."""
    if len(rows) == 1 and len(rows[0]) == 1:
        return _of_cell(rows[0][0], sql)
    if all(len(row) == 1 and isinstance(row[0], str) and read_iso_cell(row[0]) is None for row in rows):
        return SetAnswer(values=tuple(sorted({str(row[0]) for row in rows})))
    return RowsAnswer(rows=tuple(tuple(row) for row in rows), rel_tol=_REL_TOL)


def _of_cell(cell: Scalar, sql: str) -> Answer:
    if asks_yes_or_no(sql) and cell in (0, 1):
        return BooleanAnswer(value=bool(cell))
    if isinstance(cell, int):
        return IntegerAnswer(value=cell)
    if isinstance(cell, float):
        return RealAnswer(value=cell, abs_tol=1e-6, rel_tol=_REL_TOL)
    text = str(cell)
    if read_iso_cell(text) is not None:
        return DateAnswer(value=text[:19] if _DATE.match(text) else text)
    return StringAnswer(value=text)


def fault_of_rows(rows: Sequence[Sequence[Scalar]]) -> str | None:
    """Why the rows of a gold query are no reference, or ``None``."""
    if not rows:
        return "empty answer"
    if any(cell is None for row in rows for cell in row):
        return "null in the answer"
    return f"more than {MOST_ROWS} rows" if len(rows) > MOST_ROWS else None
