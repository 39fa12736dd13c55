"""What a study design is, as data: parameters, power function, program text, and how it is told.

Decision: ground truth (:attr:`Design.power`, host side) and the reference program (text) are written separately, so
that a test can hold one against the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Values = Mapping[str, float]
"""Parameters by name; ``alpha`` (two-sided unless the design says otherwise) is always there."""


@dataclass(frozen=True)
class Citation:
    """Where the method was published."""

    authors: str
    source: str
    year: int


@dataclass(frozen=True)
class Design:
    """One kind of study with its test."""

    name: str
    family: str
    """Kind of outcome or test: the category in tables."""
    citation: Citation
    grid: Mapping[str, tuple[float, ...]]
    """Values of each parameter."""
    stories: tuple[str, ...]
    """Studies of this design, told with ``{parameter}`` in place."""
    method: str
    """How power is computed, so that the answer is one number."""
    count: str
    """What is counted: ``patients per group``, ``patients in total``."""
    power: Callable[[float, Values], float]
    """Power with ``n`` of what is counted; rises with ``n``."""
    program: str
    """Body of ``def power(n)`` in Python, with ``{parameter}`` in place; imports included."""
    smallest: int = 3
    """Smallest ``n`` that the method is defined for."""
    possible: Callable[[Values], bool] = lambda _: True
    """Rejects parameters that contradict each other."""
    biostat: bool = False
    """Whether source ``biostat`` asks it; ``npowerai``, which is out of distribution, then never does."""
    held_out: bool = False
    """Whether it is asked in ``test_unseen`` only."""
