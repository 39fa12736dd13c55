"""Host-side typed graders: was the submitted JSON value right?

Decision: strict, by value and by type; nothing is searched for inside texts, output is never looked at, and no
submitted object is executed, imported or recursed into. Invariant: every function is pure and total: whatever is
submitted, the result is a :class:`~copilot.reward.answers.Grade` with a reason (only a *reference* that
contradicts its own kind raises, as an infrastructure failure, so that the sample is masked).
"""

import math
from collections.abc import Callable
from datetime import date, time
from typing import Any

from pydantic import JsonValue

from copilot.errors import InfrastructureError
from copilot.reward.answers import (
    UNANSWERABLE,
    Answer,
    BooleanAnswer,
    DateAnswer,
    Grade,
    IntegerAnswer,
    IntervalAnswer,
    ListAnswer,
    OutputsAnswer,
    PredictionsAnswer,
    RealAnswer,
    RowsAnswer,
    SetAnswer,
    StateAnswer,
    StringAnswer,
    UnanswerableAnswer,
)
from copilot.reward.intervals import read_interval
from copilot.reward.outputs import compare_outputs
from copilot.reward.predictions import compare_predictions
from copilot.reward.rows import compare_rows, compare_sets
from copilot.reward.state import compare_created
from copilot.reward.values import equals_whole, read_moment, read_number, read_text

_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


def grade(answer: Answer, submitted: JsonValue) -> Grade:
    """Compare a submitted value with the reference.

    Args:
        answer: The typed reference.
        submitted: JSON as it came out of the sandbox; hostile.

    Returns:
        The verdict; the reason names the first difference and is never longer than a line.

    Raises:
        InfrastructureError: The reference itself is malformed (boundary ``grader``).
    """
    return _GRADERS[type(answer)](answer, submitted)


def grade_integer(answer: IntegerAnswer, submitted: JsonValue) -> Grade:
    """Whole numbers are equal up to floating-point noise; ``"3"``, ``3.0`` and ``3`` are the same, ``true`` is none."""
    number = read_number(submitted)
    if number is None or not math.isfinite(number):
        return _wrong(f"{show(submitted)} is no finite number")
    return _verdict(equals_whole(number, answer.value), submitted, answer.value)


def grade_real(answer: RealAnswer, submitted: JsonValue) -> Grade:
    """Numbers within limits (inclusive); a text may carry exactly the reference's unit behind the number."""
    number = read_number(_without_unit(submitted, answer.unit))
    if number is None:
        return _wrong(f"{show(submitted)} is no number")
    number = float(number)
    if not math.isfinite(answer.value):
        same = math.isnan(number) if math.isnan(answer.value) else number == answer.value
        return _verdict(same, submitted, answer.value)
    if not math.isfinite(number):
        return _wrong(f"{show(submitted)} is not finite")
    low, high = accepted_range(answer)
    if low <= number <= high:
        return Grade(correct=True, reason=f"within [{low:g}, {high:g}]")
    return _wrong(f"{number:g} is outside [{low:g}, {high:g}]")


def accepted_range(answer: RealAnswer) -> tuple[float, float]:
    """Smallest and largest accepted value; a missing limit is made from the tolerances, so no side is ever open."""
    tolerance = max(answer.abs_tol, answer.rel_tol * abs(answer.value))
    slack = 1e-12 * abs(answer.value)  # so that a decimal edge such as 0.3 + 0.1 is inside
    low = answer.lower if answer.lower is not None else answer.value - tolerance - slack
    high = answer.upper if answer.upper is not None else answer.value + tolerance + slack
    return low, high


def grade_boolean(answer: BooleanAnswer, submitted: JsonValue) -> Grade:
    """``true``/``false``, ``1``/``0`` and the texts ``true``, ``yes``, ``1`` / ``false``, ``no``, ``0``."""
    read: bool | None = None
    if isinstance(submitted, bool):
        read = submitted
    elif isinstance(submitted, int | float):
        read = True if submitted == 1 else False if submitted == 0 else None
    elif (text := read_text(submitted)) is not None:
        read = True if text in _TRUE else False if text in _FALSE else None
    if read is None:
        return _wrong(f"{show(submitted)} is neither true nor false")
    return _verdict(read is answer.value, submitted, answer.value)


def grade_string(answer: StringAnswer, submitted: JsonValue) -> Grade:
    """The whole text, or an alias, without case and outer white space."""
    text = read_text(submitted)
    if text is None:
        return _wrong(f"{show(submitted)} is no text")
    return _verdict(text in {read_text(known) for known in (answer.value, *answer.aliases)}, submitted, answer.value)


def grade_date(answer: DateAnswer, submitted: JsonValue) -> Grade:
    """Moments are equal at the reference's granularity; parts that were not submitted are zero.

    A reference that is a date accepts any time on that day; one to the minute accepts any second of that minute.
    """
    reference = read_moment(answer.value)
    if reference is None:
        raise InfrastructureError("grader", f"reference {answer.value!r} is no ISO 8601 date or time")
    moment = read_moment(submitted)
    if moment is None:
        return _wrong(f"{show(submitted)} is no date or time")
    to_minute = answer.value.count(":") == 1
    return _verdict(
        _at_granularity(moment, reference, to_minute) == _at_granularity(reference, reference, to_minute),
        submitted,
        answer.value,
    )


def _at_granularity(
    moment: tuple[date | None, time | None], reference: tuple[date | None, time | None], to_minute: bool
) -> tuple[date | None, time | None]:
    day, clock = moment
    if reference[1] is None:
        return day, None
    clock = clock or time()
    # a bare date is no time of day: only a reference with a date lets the clock be left out
    if reference[0] is None and moment[1] is None:
        return day, None
    return day, clock.replace(second=0) if to_minute else clock


def grade_interval(answer: IntervalAnswer, submitted: JsonValue) -> Grade:
    """Spans are equal as numbers of days; a bare number is no span, since its unit is not said."""
    days = read_interval(submitted)
    if days is None:
        return _wrong(f"{show(submitted)} is no span of weeks and days")
    return _verdict(days == answer.days, f"{days} days", f"{answer.days} days")


def grade_outputs(answer: OutputsAnswer, submitted: JsonValue) -> Grade:
    """The outputs of a fresh sandbox for the hidden inputs; see :mod:`copilot.reward.outputs`."""
    fault = compare_outputs(answer.outputs, submitted, rel_tol=answer.rel_tol)
    return Grade(correct=True, reason=f"{len(answer.outputs)} outputs agree") if fault is None else _wrong(fault)


def grade_predictions(answer: PredictionsAnswer, submitted: JsonValue) -> Grade:
    """Area under the ROC curve over all rows; see :mod:`copilot.reward.predictions`."""
    correct, reason = compare_predictions(answer.labels, submitted, bar=answer.bar)
    return Grade(correct=correct, reason=reason)


def grade_state(answer: StateAnswer, submitted: JsonValue) -> Grade:
    """What was created, one resource per pattern and none besides, and the value beside it."""
    if not isinstance(submitted, dict):
        return _wrong(f"{show(submitted)} is no record of a server's state")
    fault = compare_created(answer.created, submitted.get("created"))
    if fault is not None:
        return _wrong(fault)
    if answer.value is None:
        return Grade(correct=True, reason="the state is as it should be")
    return grade(answer.value, submitted.get("value"))


def grade_set(answer: SetAnswer, submitted: JsonValue) -> Grade:
    """The same values, each at least once; a single value may stand for the list of it."""
    fault = compare_sets(answer.values, submitted, rel_tol=answer.rel_tol)
    return Grade(correct=True, reason="same values") if fault is None else _wrong(fault)


def grade_list(answer: ListAnswer, submitted: JsonValue) -> Grade:
    """The same values in the same order."""
    rows = tuple((value,) for value in answer.values)
    fault = compare_rows(rows, submitted, ordered=True, rel_tol=answer.rel_tol)
    return Grade(correct=True, reason="same list") if fault is None else _wrong(fault)


def grade_rows(answer: RowsAnswer, submitted: JsonValue) -> Grade:
    """The rows of a query by value; see :mod:`copilot.reward.rows` for the forms that are read."""
    fault = compare_rows(answer.rows, submitted, ordered=answer.ordered, rel_tol=answer.rel_tol)
    return Grade(correct=True, reason="same rows") if fault is None else _wrong(fault)


def grade_unanswerable(answer: UnanswerableAnswer, submitted: JsonValue) -> Grade:
    """Only the word itself."""
    return _verdict(read_text(submitted) == UNANSWERABLE, submitted, UNANSWERABLE)


def show(value: object) -> str:
    """A short description of a hostile value: containers by size alone, so that depth cannot hurt."""
    match value:
        case list() | tuple() | dict():
            return f"a {type(value).__name__} of {len(value)}"
        case str():
            return repr(value[:60]) + ("..." if len(value) > 60 else "")
        case None | bool() | float():
            return repr(value)
        case int():
            return str(value) if value.bit_length() < 200 else "a huge integer"
    return f"a {type(value).__name__}"


def _without_unit(submitted: JsonValue, unit: str | None) -> JsonValue:
    if unit and isinstance(submitted, str) and submitted.strip().endswith(unit):
        return submitted.strip().removesuffix(unit)
    return submitted


def _verdict(correct: bool, submitted: object, reference: object) -> Grade:
    relation = "equals" if correct else "is not"
    return Grade(correct=correct, reason=f"{show(submitted)} {relation} {show(reference)}")


def _wrong(reason: str) -> Grade:
    return Grade(correct=False, reason=reason)


_GRADERS: dict[type, Callable[[Any, JsonValue], Grade]] = {
    IntegerAnswer: grade_integer,
    RealAnswer: grade_real,
    BooleanAnswer: grade_boolean,
    StringAnswer: grade_string,
    DateAnswer: grade_date,
    IntervalAnswer: grade_interval,
    SetAnswer: grade_set,
    ListAnswer: grade_list,
    RowsAnswer: grade_rows,
    UnanswerableAnswer: grade_unanswerable,
    OutputsAnswer: grade_outputs,
    PredictionsAnswer: grade_predictions,
    StateAnswer: grade_state,
}
