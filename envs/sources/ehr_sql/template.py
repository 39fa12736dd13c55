"""What a question template is, and how it becomes an instance.

The instances of a template are the rows of ``slots`` (a query over the database) times its ``choices`` (a word in the
question that stands for another in the SQL). An instance's key hashes template and slot values; the key alone decides
its split, its wording and its id, so that splits are disjoint for every seed.
"""

import functools
import hashlib
import itertools
import json
import random
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from copilot.envs.sources.ehr_sql.schema import NOW
from copilot.envs.sqlite_files import open_readonly, run_trusted
from copilot.reward.answers import (
    Answer,
    BooleanAnswer,
    IntegerAnswer,
    RealAnswer,
    RowsAnswer,
    Scalar,
    UnanswerableAnswer,
)

Category = Literal["lookup", "join", "aggregate", "time", "topk", "trend", "unanswerable"]
"""Kinds of questions."""

MOST_ROWS = 15
"""Instances with longer answers are left out."""

RESERVED_BUCKET = 99
"""Instances in this bucket are in no split: worked examples are made of them."""

BUCKETS = {"train": (0, 72), "valid": (72, 80), "test_seen": (80, RESERVED_BUCKET), "test_unseen": (0, RESERVED_BUCKET)}
"""Split to its half-open range of buckets; ``test_unseen`` has its own templates."""


@dataclass(frozen=True)
class Template:
    """A question with holes, its SQL, and where the holes' values come from."""

    key: str
    category: Category
    questions: tuple[str, ...]
    """Paraphrases, with ``{slot}``."""
    sql: str
    """Gold query with ``{slot}``; empty when the data has no answer."""
    slots: str
    """Query whose columns are the slots and whose rows are the instances."""
    answer: Literal["integer", "real", "boolean", "rows", "unanswerable"] = "rows"
    choices: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Slot to pairs (in the SQL, in the question); all are combined with every row of ``slots``."""

    def instances(self, con: sqlite3.Connection, *, order: random.Random | None = None) -> Iterator["Instance"]:
        """All instances, unfiltered: in a fixed order, or shuffled by ``order``. Each is made when it is asked for."""
        names, rows = _slot_values(con.execute("PRAGMA database_list").fetchone()[2], self.slots)
        options = list(itertools.product(*self.choices.values()))
        numbers = list(range(len(rows) * len(options)))
        if order is not None:
            order.shuffle(numbers)
        for number in numbers:
            row, option = rows[number // len(options)], options[number % len(options)]
            drawn: dict[str, Scalar] = dict(zip(names, row, strict=True))
            in_sql = dict(zip(self.choices, (pair[0] for pair in option), strict=True))
            in_words = dict(zip(self.choices, (pair[1] for pair in option), strict=True))
            yield Instance(self, {**drawn, **in_sql}, {**drawn, **in_words})


@functools.lru_cache(maxsize=128)
def _slot_values(database: str, slots: str) -> tuple[list[str], list[tuple[Scalar, ...]]]:
    """Names and sorted values of a slots query; kept, since splits and templates ask the same again."""
    with open_readonly(Path(database)) as con:
        cursor = con.execute(slots)
        return [column[0] for column in cursor.description], sorted(cursor.fetchall())


@dataclass(frozen=True)
class Instance:
    """A template with its slots filled."""

    template: Template
    in_sql: dict[str, Scalar]
    in_words: dict[str, Scalar]

    @functools.cached_property
    def digest(self) -> str:
        """Hash of template and slot values: decides split, wording and id."""
        slots = json.dumps([self.template.key, self.in_sql], sort_keys=True)
        return hashlib.sha256(slots.encode()).hexdigest()

    @property
    def bucket(self) -> int:
        """0 to 99, evenly."""
        return int(self.digest[:8], 16) % 100

    @property
    def question(self) -> str:
        """The wording of this instance."""
        wording = self.template.questions[int(self.digest[8:16], 16) % len(self.template.questions)]
        return wording.format(**self.in_words)

    @property
    def sql(self) -> str:
        """The gold query; empty when unanswerable."""
        quoted = {name: str(value).replace("'", "''") for name, value in self.in_sql.items()}
        return self.template.sql.format(**quoted)

    def belongs(self, split: str) -> bool:
        """Whether the instance is one of the split (``test_unseen`` takes all but the reserved ones)."""
        low, high = BUCKETS[split]
        return low <= self.bucket < high

    def reference(self, con: sqlite3.Connection) -> Answer | None:
        """The right answer, or ``None`` when the instance is no good: empty, null, too long or not unique."""
        if self.template.answer == "unanswerable":
            return UnanswerableAnswer()
        rows = run_trusted(con, self.sql, now=NOW)
        if not rows or len(rows) > MOST_ROWS or any(cell is None for row in rows for cell in row):
            return None
        return None if is_tied(con, self.sql) else _typed(self.template.answer, rows)


def _typed(kind: str, rows: list[tuple[Scalar, ...]]) -> Answer | None:
    value = rows[0][0]
    if kind == "rows":
        return RowsAnswer(rows=tuple(rows))
    if not isinstance(value, int | float) or len(rows) > 1:
        raise ValueError(f"a template of kind {kind} gave {rows[:3]}")
    if kind == "boolean":
        return BooleanAnswer(value=bool(value))
    if kind == "integer":
        return IntegerAnswer(value=int(value)) if value else None
    return RealAnswer(value=round(float(value), 6), abs_tol=1e-6, rel_tol=1e-3)


_LIMITED = re.compile(r"^SELECT .*?(?P<tail> FROM .*) ORDER BY (?P<key>.*?)(?P<desc> DESC)? LIMIT (?P<k>\d+)$", re.S)


def is_tied(con: sqlite3.Connection, sql: str) -> bool:
    """Whether a ``LIMIT`` in the query, or in a subquery, cuts through equal sort keys, so that the answer is luck."""
    for query in (sql, *_subqueries(sql)):
        if limited := _LIMITED.match(query):
            k = int(limited["k"])
            keys = f"SELECT {limited['key']}{limited['tail']} ORDER BY 1{limited['desc'] or ''} LIMIT {k + 1}"
            values = run_trusted(con, keys, now=NOW)
            if len(values) == k + 1 and values[-1] == values[-2]:
                return True
    return False


def _subqueries(sql: str) -> Iterator[str]:
    for start in (found.end() for found in re.finditer(r"\((?=SELECT )", sql)):
        depth, end = 1, start
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        yield sql[start : end - 1]
