"""What a calculator is, as data: inputs, formula, citation, program text, and how it is asked for.

Decision: ground truth (:attr:`Calculator.formula`, host side) and the reference program (text with the patient's
numbers in place) are written separately, so that a test can hold one against the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Values = Mapping[str, float]
"""Inputs by name in base units; findings are 0 or 1, grades their points, ``female`` 0 or 1."""


@dataclass(frozen=True)
class Unit:
    """Another unit of a quantity: ``base = (stated - offset) / factor``."""

    name: str
    factor: float
    decimals: int = 0
    offset: float = 0.0

    def stated(self, base: float) -> str:
        """The number as it stands in a note."""
        return f"{base * self.factor + self.offset:.{self.decimals}f}"

    def to_base(self, stated: str) -> float:
        """The stated number in the base unit."""
        return (float(stated) - self.offset) / self.factor

    def expression(self, stated: str) -> str:
        """The conversion as Python text, with the factor in the form in which it is a short number."""
        inner = f"({stated} - {self.offset:g})" if self.offset else stated
        reciprocal = f"{1 / self.factor:g}"
        if self.factor < 1 and abs(float(reciprocal) * self.factor - 1) < 1e-12:
            return f"({inner} * {reciprocal})"
        return f"({inner} / {self.factor:g})"


@dataclass(frozen=True)
class Quantity:
    """A measured input, drawn evenly from a realistic range."""

    name: str
    labels: tuple[str, ...]
    """How notes call it: in full first, shortest last."""
    unit: str
    low: float
    high: float
    decimals: int = 0
    units: tuple[Unit, ...] = ()
    """Other units a harder note may use."""

    def between(self, low: float, high: float, decimals: int | None = None) -> "Quantity":
        """The same quantity in another range."""
        return replace(self, low=low, high=high, decimals=self.decimals if decimals is None else decimals)

    def in_base_unit(self) -> "Quantity":
        """The same quantity, always stated in its base unit: for scores whose SI cut-offs are rounded."""
        return replace(self, units=())


@dataclass(frozen=True)
class Finding:
    """A yes/no input: named in the note when present, sometimes denied when absent."""

    name: str
    present: tuple[str, ...]
    absent: str
    rate: float = 0.35
    """Share of patients who have it."""


@dataclass(frozen=True)
class Grading:
    """An input with a few grades, always stated."""

    name: str
    grades: tuple[tuple[float, str], ...]
    """Points and what the note says."""


@dataclass(frozen=True)
class Day:
    """A calendar day, always stated; its value is the day's ordinal number."""

    name: str
    label: str
    first: str
    """Earliest day, ISO 8601."""
    last: str
    """Latest day."""


Input = Quantity | Finding | Grading | Day


@dataclass(frozen=True)
class Citation:
    """Where the formula was published."""

    authors: str
    source: str
    year: int


def _always(_: Values) -> bool:
    return True


def _no_parts(_: Values) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Calculator:
    """One published calculator."""

    name: str
    system: str
    """Organ system or kind: the category in tables."""
    citation: Citation
    asks: tuple[str, str, str]
    """Three ways to name what is asked for."""
    inputs: tuple[Input, ...]
    formula: Callable[[Values], float]
    """Ground truth."""
    program: str
    """Python text; ``{name}`` is the stated number (with its unit conversion), or one of ``parts``."""
    statement: str
    """The formula as a question may state it."""
    unit: str = ""
    """Unit of the answer; empty for scores and ratios."""
    uses: tuple[str, ...] = ()
    """Which of ``age`` and ``female`` the formula needs."""
    parts: Callable[[Values], Mapping[str, str]] = _no_parts
    """Pieces of the program that depend on the patient (a factor for women)."""
    possible: Callable[[Values], bool] = _always
    """Rejects patients that do not exist, and answers too near zero for a relative tolerance."""
    whole: bool = False
    """Whether the answer is a whole number, matched exactly."""
    tolerance: float = 0.05
    """Accepted share of the answer: 5 % as in MedCalc-Bench, narrower where an uncorrected input would pass."""
    ages: tuple[int, int] = (18, 90)
    """Years."""
    avoid: tuple[str, ...] = ()
    """Distractors that would count as a finding (a creatinine of 4 where renal disease scores)."""
    gives: Literal["number", "day", "span"] = "number"
    """What the formula's number is: a number, the ordinal of a day, or a span in days."""
    held_out: bool = False
    """Whether it is asked in ``test_unseen`` only."""
