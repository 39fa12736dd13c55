"""Comparing the rows of a query with what was submitted for them.

Read as rows: a scalar (one row of one cell); a flat list (a column, or the row itself when the reference is one row
of several cells); a list of lists; a list of flat objects (their values in order, as ``to_dict("records")`` gives).
The order of columns always counts, the order of rows only where the reference says so; duplicates count.

A cell is a null, a number, a moment in ISO notation (midnight stands for the date alone) or a text. Whole reference
numbers (``3``, ``"3"``) are matched exactly, since identifiers and counts have no tolerance; others within
``rel_tol``. Databases without a boolean type store truth as 1 and 0, so a boolean cell is that number.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from copilot.reward.values import MAX_TEXT, equals_whole, read_iso_cell, read_number, read_text

Cell = None | int | float | datetime | str
"""A cell after reading."""
Row = tuple[Cell, ...]

_MOST_REPEATED = 500
"""How often a value of a set may be listed, on average, before the list is not even read."""

_MAX_MATCHING = 400
"""Rows up to which a tolerant match is searched for; longer remainders are compared in sorted order."""


def compare_rows(
    reference: Sequence[Sequence[object]], submitted: object, *, ordered: bool, rel_tol: float
) -> str | None:
    """The first difference in a few words, or ``None`` when the rows are the same.

    Args:
        reference: Right rows, scalars in tuples.
        submitted: Hostile JSON.
        ordered: Whether the order of rows counts.
        rel_tol: Accepted difference of numbers that are not whole, as a share of the reference.
    """
    rows = _as_rows(submitted, reference)
    if rows is None:
        return "no scalar, column or table"
    if len(rows) != len(reference):
        return f"{len(rows)} rows instead of {len(reference)}"
    wanted = [tuple(_read_cell(cell) for cell in row) for row in reference]
    got: list[Row] = []
    for index, (row, reference_row) in enumerate(zip(rows, reference, strict=True)):
        if len(row) != len(reference_row):
            return f"row {index} has {len(row)} cells instead of {len(reference_row)}"
        if not all(_is_scalar(cell) for cell in row):
            return f"row {index} holds a nested or overlong cell"
        got.append(tuple(_read_cell(cell) for cell in row))
    if ordered:
        differing = [i for i, (w, g) in enumerate(zip(wanted, got, strict=True)) if not _same_row(w, g, rel_tol)]
        return f"row {differing[0]} differs" if differing else None
    return _compare_multisets(wanted, got, rel_tol)


def compare_sets(reference: Sequence[object], submitted: object, *, rel_tol: float) -> str | None:
    """The first difference of two sets of values in a few words, or ``None``; repetitions do not count.

    Args:
        reference: Right values.
        submitted: Hostile JSON: a list of values, of one-cell rows or of one-cell objects, or a single value.
        rel_tol: Accepted difference of numbers that are not whole, as a share of the reference.
    """
    if isinstance(submitted, list | tuple) and len(submitted) > _MOST_REPEATED * (len(reference) + 1):
        return f"{len(submitted)} values instead of {len(reference)}"
    rows = _as_rows(submitted, ((None,),))
    if rows is None or any(len(row) != 1 or not _is_scalar(row[0]) for row in rows):
        return "no list of values"
    wanted = list(dict.fromkeys(_read_cell(value) for value in reference))
    got = list(dict.fromkeys(_read_cell(row[0]) for row in rows))
    if len(got) > 2 * len(wanted) + 10:
        return f"{len(got)} different values instead of {len(wanted)}"
    unknown = [value for value in got if not any(_same_cell(w, value, rel_tol) for w in wanted)]
    missing = [value for value in wanted if not any(_same_cell(value, g, rel_tol) for g in got)]
    if unknown or missing:
        return f"{len(missing)} of {len(wanted)} values are missing, {len(unknown)} are too many"
    return None


def _as_rows(submitted: object, reference: Sequence[Sequence[object]]) -> list[Sequence[object]] | None:
    if not isinstance(submitted, list | tuple):
        return [(submitted,)] if _is_scalar(submitted) else None
    items = list(submitted)
    if all(isinstance(item, list | tuple) for item in items):
        return items
    if all(isinstance(item, dict) for item in items):
        return [tuple(item.values()) for item in items]
    if not all(_is_scalar(item) for item in items):
        return None
    if len(reference) == 1 and len(reference[0]) > 1:
        return [items]
    return [(item,) for item in items]


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return value is None or isinstance(value, int | float)


def _read_cell(value: object) -> Cell:
    if isinstance(value, bool):
        return int(value)
    if (number := read_number(value)) is not None:
        # the texts "nan" and "inf" are texts in a table: they may be names
        return number if math.isfinite(number) or not isinstance(value, str) else value.strip().casefold()
    if isinstance(value, str):
        return read_iso_cell(value) or read_text(value)
    return None if value is None else "huge integer"


def _same_cell(wanted: Cell, got: Cell, rel_tol: float) -> bool:
    if isinstance(wanted, int | float) and isinstance(got, int | float):
        if not math.isfinite(wanted) or not math.isfinite(got):
            return wanted == got or (math.isnan(wanted) and math.isnan(got))
        if isinstance(wanted, int):
            return equals_whole(got, wanted)
        return abs(wanted - float(got)) <= rel_tol * abs(wanted) + 1e-12
    return type(wanted) is type(got) and wanted == got


def _same_row(wanted: Row, got: Row, rel_tol: float) -> bool:
    return all(_same_cell(w, g, rel_tol) for w, g in zip(wanted, got, strict=True))


def _compare_multisets(wanted: list[Row], got: list[Row], rel_tol: float) -> str | None:
    """Rows that are equal exactly cancel out; what is left must match one to one within the tolerance."""
    exact = Counter(wanted) & Counter(got)
    left, right = Counter(wanted) - exact, Counter(got) - exact
    rest_wanted = sorted(left.elements(), key=_sort_key)
    rest_got = sorted(right.elements(), key=_sort_key)
    if all(_same_row(w, g, rel_tol) for w, g in zip(rest_wanted, rest_got, strict=True)):
        return None
    if len(rest_wanted) <= _MAX_MATCHING and _perfect_matching(rest_wanted, rest_got, rel_tol):
        return None
    return f"{len(rest_wanted)} of {len(wanted)} rows differ"


def _sort_key(row: Row) -> tuple[tuple[str, float, str], ...]:
    """Texts before numbers, so that rows which differ within the tolerance end up at the same place."""
    texts = tuple((type(c).__name__, 0.0, str(c)) for c in row if not isinstance(c, int | float))
    return texts + tuple(("number", float(c), "") for c in row if isinstance(c, int | float))


def _perfect_matching(wanted: list[Row], got: list[Row], rel_tol: float) -> bool:
    """Whether every wanted row can be given a row of its own (augmenting paths, breadth first)."""
    fits = [[j for j, g in enumerate(got) if _same_row(w, g, rel_tol)] for w in wanted]
    owner: dict[int, int] = {}
    for start in range(len(wanted)):
        came_from: dict[int, tuple[int, int | None]] = {}
        queue: list[tuple[int, int | None]] = [(start, None)]
        free: int | None = None
        while queue and free is None:
            row, entered_by = queue.pop(0)
            for column in fits[row]:
                if column in came_from:
                    continue
                came_from[column] = (row, entered_by)
                if column not in owner:
                    free = column
                    break
                queue.append((owner[column], column))
        if free is None:
            return False
        step: int | None = free
        while step is not None:
            row, previous = came_from[step]
            owner[step] = row
            step = previous
    return True
