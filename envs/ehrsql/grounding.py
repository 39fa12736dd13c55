"""Questions re-grounded: the values a question names are replaced by values that the database at hand knows.

EHRSQL's questions name patients, drugs and codes that its authors shuffled, so on another database their SQL finds
nothing. A question keeps its own values where they find an answer; else values are drawn for it, a patient first and
then what that patient has, and put into question and SQL alike. Draws depend on the question's id alone, so the
same question on the same database is the same task everywhere.
"""

import random
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from copilot.envs.ehrsql.answers import fault_of_rows, typed_answer
from copilot.envs.ehrsql.sql import clean_sql, kind_of
from copilot.envs.sqlite_files import run_trusted
from copilot.reward.answers import Answer, BooleanAnswer, IntegerAnswer, RealAnswer, Scalar

PATIENT = "patient_id"
"""The slot that all others hang on."""

DRAWS = 60
"""How often values are drawn before a question is given up."""

_STEPS = 30_000_000
"""Instructions of SQLite's machine that one query may take (about half a second); more is given up as too slow."""


@dataclass(frozen=True)
class Vocabulary:
    """Where a database keeps the values of slots."""

    patients: str
    """Query for all patients."""
    values: Mapping[str, str]
    """Slot (without a number) to the query for its values; ``{where}`` stands for the patient's condition."""
    of_patient: str
    """The condition on one patient, with one ``?``; the queries' main table is called ``e``."""


@dataclass(frozen=True)
class Grounded:
    """A question with values of the database and its answer there."""

    question: str
    sql: str
    answer: Answer
    values: Mapping[str, Scalar]
    changed: bool
    """Whether the values are others than upstream's."""


class Grounder:
    """Re-grounds questions on one database.

    Args:
        con: The database.
        vocabulary: Of its schema.
        now: Its fixed present.
    """

    def __init__(self, con: sqlite3.Connection, vocabulary: Vocabulary, now: str) -> None:
        self.con, self.vocabulary, self.now = con, vocabulary, now
        self._known: dict[tuple[str, Scalar], list[Scalar]] = {}

    @cached_property
    def patients(self) -> list[Scalar]:
        """All patients, sorted."""
        return sorted(row[0] for row in self.con.execute(self.vocabulary.patients))

    def ground(self, key: str, question: str, sql: str, values: Mapping[str, Scalar]) -> Grounded | str:
        """The question on this database, or the reason why it has no good answer here.

        Args:
            key: Id of the question; seeds the draws.
            question: In upstream's words.
            sql: Gold query of the same values.
            values: Slot to the value that question and SQL name.
        """
        rng = random.Random(f"ground {key}")
        wanted = rng.random() < 0.5  # of yes-or-no questions: else draws that find something make all of them true
        spare: Grounded | None = None
        fault = "no values for its slots"
        for number in range(DRAWS):
            drawn = dict(values) if number == 0 else self._draw(rng, values)
            if drawn is None:
                continue
            found = self._try(question, sql, values, drawn)
            if not isinstance(found, Grounded):
                fault = found
            elif (
                found.answer.value is wanted if isinstance(found.answer, BooleanAnswer) else not _is_dull(found.answer)
            ):
                return found
            else:
                spare = spare or found
            if not values:
                break
        if spare is not None and _is_rate_without_news(spare):
            return "a rate of 0 or 100 %"
        return spare or fault

    def reword(self, key: str, text: str) -> str:
        """A text with the patient it names replaced by one of this database, if it names one."""
        return re.sub(r"(?<=\bpatient )(\d[\d-]*\d)", str(random.Random(f"ground {key}").choice(self.patients)), text)

    def _draw(self, rng: random.Random, values: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
        patient = rng.choice(self.patients) if PATIENT in values else None
        drawn: dict[str, Scalar] = {}
        same: dict[Scalar, Scalar] = {}
        for slot, old in values.items():
            if slot == PATIENT:
                drawn[slot] = patient
                continue
            known = self._candidates(slot.rstrip("0123456789"), patient)
            if known is None:  # a threshold: it stays
                drawn[slot] = old
                continue
            if not known:
                return None
            drawn[slot] = same.setdefault(old, rng.choice(known))
        return drawn

    def _candidates(self, slot: str, patient: Scalar) -> list[Scalar] | None:
        if slot not in self.vocabulary.values:
            return None
        if (slot, patient) not in self._known:
            where = "1" if patient is None else self.vocabulary.of_patient
            query = self.vocabulary.values[slot].format(where=where)
            rows = self.con.execute(query, () if patient is None else (patient,))
            self._known[slot, patient] = sorted(row[0] for row in rows if row[0] is not None)
        return self._known[slot, patient]

    def _try(self, question: str, sql: str, old: Mapping[str, Scalar], new: Mapping[str, Scalar]) -> Grounded | str:
        changed = dict(new) != dict(old)
        if changed:
            reworded = replaced(question, old, new)
            if reworded is None:
                return "a value is not in the question's words"
            question, sql = reworded, replaced_in_sql(sql, old, new)
        sql = clean_sql(sql)
        rows = self._rows(sql)
        if isinstance(rows, str):
            return rows
        answer = typed_answer(rows, sql)
        if isinstance(answer, IntegerAnswer) and answer.value == 0:
            return "a count of nothing"
        return Grounded(question, sql, answer, new, changed)

    def _rows(self, sql: str) -> list[tuple[Scalar, ...]] | str:
        """The rows, or what is wrong with them; rows that depend on the order of a scan are luck, not an answer."""
        self.con.set_progress_handler(lambda: 1, _STEPS)
        try:
            rows = run_trusted(self.con, sql, now=self.now)
            if fault := fault_of_rows(rows):
                return fault
            if not re.search(r"\b(limit|group by)\b", sql, re.IGNORECASE):
                return rows
            self.con.execute("PRAGMA reverse_unordered_selects=1")
            other = run_trusted(self.con, sql, now=self.now)
        except sqlite3.Error as error:  # upstream's SQL need not fit this database; the reason is counted
            return "too slow a query" if str(error) == "interrupted" else f"SQL fails: {str(error)[:60]}"
        finally:
            self.con.set_progress_handler(None, 0)
            self.con.execute("PRAGMA reverse_unordered_selects=0")
        return rows if sorted(map(repr, rows)) == sorted(map(repr, other)) else "ties decide the answer"


def _is_dull(answer: Answer) -> bool:
    """Answers that a guesser would try first; others are preferred where draws find some."""
    return isinstance(answer, IntegerAnswer | RealAnswer) and answer.value in (0, 1, 100)


def _is_rate_without_news(found: Grounded) -> bool:
    return kind_of(found.sql) == "survival rate" and _is_dull(found.answer)


def replaced(text: str, old: Mapping[str, Scalar], new: Mapping[str, Scalar]) -> str | None:
    """``text`` with new values for old ones, whole words in any case; ``None`` when one of them is not in it."""
    pairs = {_spoken(value).lower(): _spoken(new[slot]) for slot, value in old.items()}
    if any(not re.search(_word(value), text, re.IGNORECASE) for value in pairs):
        return None
    pattern = "|".join(_word(value) for value in sorted(pairs, key=len, reverse=True))
    return re.sub(pattern, lambda found: pairs[found.group().lower()], text, flags=re.IGNORECASE)


def replaced_in_sql(sql: str, old: Mapping[str, Scalar], new: Mapping[str, Scalar]) -> str:
    """``sql`` with new literals for old ones, quoted where the old ones were."""
    pairs: dict[str, str] = {}
    for slot, value in old.items():
        if isinstance(value, str):
            pairs[_quoted(value)] = _quoted(new[slot])
        if not isinstance(value, str) or value.replace(".", "", 1).isdigit():
            pairs[str(value)] = str(new[slot])
    pattern = "|".join(
        re.escape(value) if value[0] == "'" else rf"(?<![\w.'-]){re.escape(value)}(?![\w.'-])"
        for value in sorted(pairs, key=len, reverse=True)
    )
    return re.sub(pattern, lambda found: pairs[found.group()], sql) if pairs else sql


def _quoted(value: Scalar) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _spoken(value: Scalar) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _word(value: str) -> str:
    return rf"(?<!\w){re.escape(value)}(?!\w)"
