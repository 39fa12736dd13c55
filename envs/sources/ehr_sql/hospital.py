"""Records of the generator while a hospital is drawn: the rows so far, a patient, a stay.

All randomness goes through ``Hospital.rng``, in a fixed order.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from copilot.envs.sources.ehr_sql import schema
from copilot.envs.sources.ehr_sql.codes import Code

LONGEST_CHARTED_DAYS = 10
"""Days of a stay for which events are drawn."""

_COSTS = {"diagnoses_icd": (6, 12), "procedures_icd": (60, 900), "labevents": (5, 60), "prescriptions": (3, 180)}


@dataclass
class Patient:
    """A person with what does not change from stay to stay."""

    subject_id: int
    gender: str
    born: datetime
    chronic: list[Code]
    baseline: dict[int, float]
    """Laboratory item to the patient's own offset, in spreads."""
    language: str
    marital: str
    ethnicity: str
    insurance: str
    died: datetime | None = None


@dataclass
class Stay:
    """An admission while its events are drawn."""

    hadm_id: int
    start: datetime
    end: datetime
    groups: list[str]
    """Illness groups, the leading one first."""
    fatal: bool
    severity: float
    """How far values are shifted on the first day, in units of ``LAB_SHIFTS``."""
    slope: float
    """Change of the severity per day: below zero the patient mends."""

    @property
    def days(self) -> int:
        """Days with events."""
        return min(LONGEST_CHARTED_DAYS, max(1, (self.end - self.start).days + 1))

    def shift(self, shifts: dict[str, dict[str, float]], label: str, day: float) -> float:
        """How far a value is off on a day of the stay, in spreads; the leading illness counts in full."""
        severity = max(0.0, self.severity + self.slope * day)
        return severity * sum(
            shifts.get(group, {}).get(label, 0.0) * (1.0 if rank == 0 else 0.5)
            for rank, group in enumerate(self.groups)
        )


@dataclass
class Hospital:
    """The rows of all tables so far."""

    rng: random.Random
    rows: dict[str, list[list[object]]] = field(default_factory=lambda: {table: [] for table in schema.TABLES})
    prices: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, table: str, *values: object) -> int:
        """Append a row and return its ``row_id``."""
        self.rows[table].append([len(self.rows[table]), *values])
        return len(self.rows[table]) - 1

    def pick(self, weighted: Sequence[tuple[str, float]]) -> str:
        """One name, by weight."""
        return self.rng.choices([name for name, _ in weighted], [weight for _, weight in weighted])[0]

    def codes(self, table: Sequence[Code], groups: Sequence[str], count: int) -> list[Code]:
        """Up to ``count`` distinct codes, those of the given illness groups five times as likely."""
        weights = [code.weight * (5 if code.group in groups else 1) for code in table]
        return list(dict.fromkeys(self.rng.choices(table, weights, k=count)))

    def charge(self, patient: Patient, stay: Stay, kind: str, name: str, row_id: int, at: datetime) -> None:
        """Book the cost of an event; a thing has one price."""
        if (kind, name) not in self.prices:
            low, high = _COSTS[kind]
            self.prices[kind, name] = round(self.rng.uniform(low, high), 2)
        self.add("cost", patient.subject_id, stay.hadm_id, kind, row_id, text(at), self.prices[kind, name])


def text(moment: datetime) -> str:
    """A time as the database writes it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")
