"""Typed references: what a right answer is, said in data rather than in code.

A reference is a JSON record with a ``kind``; ``copilot.reward.graders`` holds one pure function per kind that
compares it with the JSON value a policy submitted. Nothing here runs, imports or compares foreign objects.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from copilot.config import Record

Scalar = str | int | float | bool | None
"""A cell of a database answer."""

UNANSWERABLE = "unanswerable"
"""What a policy submits when a question has no answer in the data."""


class IntegerAnswer(Record):
    """A whole number; ``3``, ``3.0`` and ``"3"`` are the same, ``3.2`` is not."""

    kind: Literal["integer"] = "integer"
    value: int
    """The reference."""


class RealAnswer(Record):
    """A real number accepted within limits, or within tolerances of the value (absolute or relative)."""

    kind: Literal["real"] = "real"
    value: float
    """The reference."""
    lower: float | None = None
    """Smallest accepted value; with ``upper`` it replaces the tolerances."""
    upper: float | None = None
    """Largest accepted value."""
    abs_tol: float = 0.0
    """Accepted absolute difference, in the value's unit."""
    rel_tol: float = 1e-4
    """Accepted difference as a share of ``abs(value)``."""
    unit: str | None = None
    """Unit of the value, for the prompt and the report; a submitted string may carry exactly this unit."""


class BooleanAnswer(Record):
    """True or false; ``1``/``0`` and ``yes``/``no`` are read as such."""

    kind: Literal["boolean"] = "boolean"
    value: bool
    """The reference."""


class StringAnswer(Record):
    """A text, compared without case and outer white space."""

    kind: Literal["string"] = "string"
    value: str
    """The reference."""
    aliases: tuple[str, ...] = ()
    """Other accepted texts."""


class DateAnswer(Record):
    """A date or a time, in any common notation; compared at the reference's granularity."""

    kind: Literal["date"] = "date"
    value: str
    """ISO 8601: ``2100-12-31`` or ``2100-12-31 23:59:00``."""


class IntervalAnswer(Record):
    """A span of weeks and days, in any usual notation (``29 weeks, 2 days``, ``(29, 2)``, ``29w2d``)."""

    kind: Literal["interval"] = "interval"
    days: int
    """The whole span in days."""


class SetAnswer(Record):
    """Values in any order; how often one is listed does not count, but none may be missing or too many."""

    kind: Literal["set"] = "set"
    values: tuple[Scalar, ...]
    """The reference."""
    rel_tol: float = 1e-3
    """Accepted relative difference of numbers that are not whole."""


class ListAnswer(Record):
    """Values in an order that counts."""

    kind: Literal["list"] = "list"
    values: tuple[Scalar, ...]
    """The reference."""
    rel_tol: float = 1e-3
    """Accepted relative difference of numbers that are not whole."""


class RowsAnswer(Record):
    """The rows of a query: a scalar, a column or a table (with ``ordered``: an ordered one), compared by value.

    Rows are tuples of scalars. Numbers are equal within ``rel_tol``; texts without case; a submitted scalar is
    one row of one cell, a flat list is a column (or, when the reference is one row, that row).
    """

    kind: Literal["rows"] = "rows"
    rows: tuple[tuple[Scalar, ...], ...]
    """The reference rows."""
    ordered: bool = False
    """Whether the rows' order counts."""
    rel_tol: float = 1e-3
    """Accepted relative difference of numbers."""


class UnanswerableAnswer(Record):
    """The data cannot answer the question; only ``submit("unanswerable")`` is right."""

    kind: Literal["unanswerable"] = "unanswerable"


ValueAnswer = Annotated[
    IntegerAnswer
    | RealAnswer
    | BooleanAnswer
    | StringAnswer
    | DateAnswer
    | IntervalAnswer
    | SetAnswer
    | ListAnswer
    | RowsAnswer
    | UnanswerableAnswer,
    Field(discriminator="kind"),
]
"""A reference that is compared with the submitted value alone."""


class OutputsAnswer(Record):
    """What a submitted program must give for hidden inputs.

    Graded are the outputs that a fresh sandbox returned: a list of ``{"value": ...}`` or ``{"error": ...}``, one per
    input. The expected outputs stay on the host.
    """

    kind: Literal["outputs"] = "outputs"
    inputs: tuple[JsonValue, ...]
    """Hidden inputs, one per case; the sandbox sees them only after submission."""
    outputs: tuple[JsonValue, ...]
    """Expected outputs, as JSON."""
    rel_tol: float = 1e-6
    """Accepted difference of numbers that are not whole, as a share of the expected one."""


class PredictionsAnswer(Record):
    """A probability for every row of a test set; right when the ranking is at least as good as ``bar``."""

    kind: Literal["predictions"] = "predictions"
    labels: dict[str, bool]
    """Outcome by row name; every row must be predicted, no other may be."""
    bar: float
    """Smallest accepted area under the ROC curve; above 0.5."""


class StateAnswer(Record):
    """What must have been created on a server, and what must be answered beside it.

    Graded is ``{"value": ..., "created": [...]}``: the submitted value and the resources that a replay of the requests
    on the host added to a pristine server.
    """

    kind: Literal["state"] = "state"
    value: ValueAnswer | None = None
    """The right answer; ``None``: only the state counts."""
    created: tuple[dict[str, JsonValue], ...] = ()
    """One pattern per resource that must have been created; all leaves of a pattern must be in its resource."""


Answer = Annotated[
    IntegerAnswer
    | RealAnswer
    | BooleanAnswer
    | StringAnswer
    | DateAnswer
    | IntervalAnswer
    | SetAnswer
    | ListAnswer
    | RowsAnswer
    | UnanswerableAnswer
    | OutputsAnswer
    | PredictionsAnswer
    | StateAnswer,
    Field(discriminator="kind"),
]
"""Any reference."""


class Grade(Record):
    """A grader's verdict."""

    correct: bool
    """Whether the submitted value is right."""
    reason: str
    """Why, in a few words; kept in the trajectory, never shown to the policy."""


Submitted = JsonValue
"""What a policy submitted: JSON as it came out of the sandbox, to be treated as hostile."""
