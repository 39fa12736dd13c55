"""Notes written from the rows of an admission, some of their statements made wrong on purpose.

A note states, in varied words, laboratory values, drugs with their doses, and vital signs that the database holds at
the moments it names. Of the statements, about half are changed: another value, another dose, another day. Which ones
is known here and nowhere else, so that a checker can be asked.
"""

import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Kind = Literal["lab", "drug", "vital"]
"""Kinds of statements."""

VERSION = 1
"""Raise it whenever the same database gives other notes."""


@dataclass(frozen=True)
class Fact:
    """A row of the database, as a statement would have it."""

    kind: Kind
    entity: str
    value: float
    unit: str
    moment: str


@dataclass(frozen=True)
class Statement:
    """A sentence of a note."""

    fact: Fact
    """What it says, which need not be what the database says."""
    text: str
    wrong: bool
    """Whether it was changed."""


@dataclass(frozen=True)
class Note:
    """The note of an admission."""

    hadm_id: int
    subject_id: int
    statements: Sequence[Statement]

    @property
    def text(self) -> str:
        """The note as a clinician would read it."""
        heads = {"lab": "Pertinent results", "drug": "Medications", "vital": "Hospital course, vital signs"}
        parts = ["Discharge summary"]
        for kind, head in heads.items():
            lines = [statement.text for statement in self.statements if statement.fact.kind == kind]
            parts += [f"\n{head}:", *lines] if lines else []
        return "\n".join(parts)


_QUERIES: dict[Kind, str] = {
    "lab": "SELECT d.label, e.valuenum, coalesce(e.valueuom, ''), e.charttime FROM labevents e JOIN d_labitems d "
    "USING(itemid) WHERE e.hadm_id = ? AND e.valuenum IS NOT NULL ORDER BY e.charttime, d.label, e.row_id",
    "drug": "SELECT drug, dose_val_rx, coalesce(dose_unit_rx, ''), startdate FROM prescriptions WHERE hadm_id = ? "
    "AND dose_val_rx IS NOT NULL AND startdate IS NOT NULL ORDER BY startdate, drug, row_id",
    "vital": "SELECT d.label, e.valuenum, coalesce(e.valueuom, ''), e.charttime FROM chartevents e JOIN d_items d "
    "USING(itemid) WHERE e.hadm_id = ? AND e.valuenum IS NOT NULL ORDER BY e.charttime, d.label, e.row_id",
}
_MOST: dict[Kind, int] = {"lab": 8, "drug": 6, "vital": 4}
_WORDS: dict[Kind, tuple[str, ...]] = {
    "lab": (
        "On {moment}, {entity} was {value} {unit}.",
        "{entity} came back at {value} {unit} on {moment}.",
        "{moment}: {entity} {value} {unit}.",
    ),
    "drug": (
        "{entity} {value} {unit} was started on {moment}.",
        "From {moment} the patient received {entity} {value} {unit}.",
        "{moment}: began {entity}, {value} {unit}.",
    ),
    "vital": (
        "At {moment}, {entity} was charted as {value} {unit}.",
        "{entity} {value} {unit} at {moment}.",
    ),
}


def note_of(con: sqlite3.Connection, hadm_id: int, subject_id: int) -> Note:
    """The note of an admission; the same database gives the same note."""
    rng = random.Random(f"note {VERSION} {hadm_id}")
    statements = []
    for kind, query in _QUERIES.items():
        facts = _facts(con, kind, query, hadm_id)
        once = {fact.entity: fact for fact in rng.sample(facts, len(facts))}  # one statement per entity
        chosen = rng.sample(sorted(once), len(once))
        for entity in sorted(chosen[: _MOST[kind]]):
            same = [fact for fact in facts if fact.entity == entity]
            wrong = rng.random() < 0.5
            fact = _changed(rng, once[entity], same) if wrong else once[entity]
            statements.append(Statement(fact, _worded(rng, fact), wrong))
    return Note(hadm_id, subject_id, tuple(statements))


def _facts(con: sqlite3.Connection, kind: Kind, query: str, hadm_id: int) -> list[Fact]:
    found = []
    for entity, value, unit, moment in con.execute(query, (hadm_id,)):
        number = _number(value)
        if number is not None and "|" not in entity:
            found.append(Fact(kind, entity, number, unit, moment))
    return found


def _changed(rng: random.Random, fact: Fact, same: Sequence[Fact]) -> Fact:
    """Another value at the same moment, or the same value on a day when nothing like it was recorded."""
    if rng.random() < 0.7:
        factor = rng.choice((0.5, 0.8, 1.25, 1.5, 2.0))
        return Fact(fact.kind, fact.entity, _apart(fact.value, factor, same, fact.moment), fact.unit, fact.moment)
    moment = datetime.fromisoformat(fact.moment)
    taken = {other.moment for other in same}
    for days in rng.sample((1, 2, 3, 4, 5, 6, 7, 9, 11), 9):
        later = str(moment + timedelta(days=days))
        if later not in taken:
            return Fact(fact.kind, fact.entity, fact.value, fact.unit, later)
    return Fact(fact.kind, fact.entity, _apart(fact.value, 2.0, same, fact.moment), fact.unit, fact.moment)


def _apart(value: float, factor: float, same: Sequence[Fact], moment: str) -> float:
    """A value that the database has not at that moment."""
    taken = {fact.value for fact in same if fact.moment == moment}
    found = round(value * factor, 2) if value else 1.0
    while found in taken:
        found = round(found + 1.0, 2)
    return found


def _worded(rng: random.Random, fact: Fact) -> str:
    shown = f"{fact.value:g}"
    words = rng.choice(_WORDS[fact.kind])
    text = words.format(entity=fact.entity, value=shown, unit=fact.unit, moment=fact.moment)
    return text.replace(" .", ".").replace(" ,", ",")


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:  # doses such as "1-2" are no number
        return None
    shown = float(f"{number:g}")  # what the note will say; longer numbers are left out
    return shown if abs(shown - number) <= 1e-7 * abs(number) else None
