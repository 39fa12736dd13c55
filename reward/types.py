"""Answer types for tables of pass rates: what a guesser would have to guess.

Decided by the reference alone. Whole numbers up to :data:`SMALL` are small counts, their own class, since no grader
can keep somebody who always says 1 from being right now and then; every other number is measured against 2 %.
"""

from collections.abc import Sequence

from copilot.reward.answers import (
    Answer,
    BooleanAnswer,
    IntegerAnswer,
    ListAnswer,
    RealAnswer,
    RowsAnswer,
    Scalar,
    SetAnswer,
    StateAnswer,
    StringAnswer,
)
from copilot.reward.values import read_iso_cell, read_number

SMALL = 49
"""Largest small count; with zero these are fifty values, so that the type never has many."""

SEXES = frozenset({"m", "f", "male", "female"})
"""Texts of two values, a class of their own like truth."""

MANY = 50
"""A type with more distinct references than this has many values."""


def type_of(answer: Answer) -> str:
    """``boolean``, ``small count``, ``number``, ``sex``, ``text``, ``date``, ``set``, ``table``, or the kind."""
    match answer:
        case IntegerAnswer() | RealAnswer():
            return _of_number(answer.value)
        case StringAnswer():
            return _of_text(answer.value)
        case BooleanAnswer():
            return "boolean"
        case RowsAnswer():
            return _of_rows(answer.rows)
        case SetAnswer() | ListAnswer():
            return answer.kind
        case StateAnswer():
            return "state" if answer.created or answer.value is None else type_of(answer.value)
    return answer.kind


def key_of(answer: Answer) -> str:
    """Equal for references that the same submission satisfies; tolerances aside, and ``2`` is ``2.0`` is ``"2"``."""
    if isinstance(answer, StateAnswer) and answer.value is not None and not answer.created:
        return key_of(answer.value)
    if type_of(answer) in ("number", "small count"):
        cell = answer.rows[0][0] if isinstance(answer, RowsAnswer) else getattr(answer, "value", None)
        number = read_number(cell)
        return f"{number:.9g}" if number is not None else str(cell)
    return answer.model_dump_json(exclude={"rel_tol", "abs_tol", "lower", "upper", "unit", "bar"})


def _of_number(value: float) -> str:
    return "small count" if 0 <= value <= SMALL and value == int(value) else "number"


def _of_text(value: str) -> str:
    return "sex" if value.strip().casefold() in SEXES else "text"


def _of_rows(rows: Sequence[Sequence[Scalar]]) -> str:
    if not rows:
        return "nothing"
    if len(rows[0]) > 1:
        return "table"
    if len(rows) > 1:
        return "set"
    cell = rows[0][0]
    if cell is None:
        return "nothing"
    number = read_number(cell)
    if number is not None and abs(number) < float("inf"):
        return _of_number(float(number))
    return "date" if isinstance(cell, str) and read_iso_cell(cell) is not None else _of_text(str(cell))
