"""Chains of questions cut from nested SQL: what a gold query looks up on its way becomes questions of their own.

``... where hadm_id in ( select admissions.hadm_id from admissions where admissions.subject_id = 10006 )`` asks first
for the admissions of patient 10006, and then the whole question about them. Only subqueries whose meaning can be said
in words are cut; a query without any gives no chain.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ADMISSIONS = r"select admissions\.hadm_id from admissions where admissions\.subject_id = (?P<patient>\d+)"
_NAMED = r"where (?:d_\w+)\.(?:short_title|label) = '(?P<name>(?:[^']|'')*)'"

_WORDINGS = (
    (re.compile(rf"{_ADMISSIONS}"), "Which hospital admissions (hadm_id) does patient {patient} have?"),
    (re.compile(rf"{_ADMISSIONS} and admissions\.dischtime is null"),
     "Which hospital admission (hadm_id) of patient {patient} is still going on?"),
    (re.compile(rf"{_ADMISSIONS} and admissions\.dischtime is not null order by admissions\.admittime asc limit 1"),
     "Which was the first completed hospital admission (hadm_id) of patient {patient}?"),
    (re.compile(rf"{_ADMISSIONS} and admissions\.dischtime is not null order by admissions\.admittime desc limit 1"),
     "Which was the last completed hospital admission (hadm_id) of patient {patient}?"),
    (re.compile(r"select icustays\.icustay_id from icustays where icustays\.hadm_id in \( [^()]* \)"),
     "Which ICU stays (icustay_id) belong to them?"),
    (re.compile(rf"select d_icd_diagnoses\.icd9_code from d_icd_diagnoses {_NAMED}"),
     "Which ICD-9 code does the diagnosis {name} have?"),
    (re.compile(rf"select d_icd_procedures\.icd9_code from d_icd_procedures {_NAMED}"),
     "Which ICD-9 code does the procedure {name} have?"),
    (re.compile(rf"select d_labitems\.itemid from d_labitems {_NAMED}"),
     "Which item ids does the laboratory test {name} have?"),
    (re.compile(rf"select d_items\.itemid from d_items {_NAMED} and d_items\.linksto = '(?P<table>\w+)'"),
     "Which item ids does {name} have in {table}?"),
)  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One question of a chain."""

    question: str
    sql: str


def chain_of(question: str, sql: str) -> list[Turn]:
    """The turns that lead to a question, itself the last; fewer than two: there is nothing to cut."""
    turns: list[Turn] = []
    for query in subqueries(sql):
        wording = _wording(query)
        if wording is not None and wording not in (turn.question for turn in turns):
            turns.append(Turn(wording, query))
    return [*turns, Turn(question, sql)]


def subqueries(sql: str) -> Iterator[str]:
    """The parenthesised queries of ``sql``, inner ones before those that hold them."""
    opened: list[int] = []
    for position, sign in enumerate(sql):
        if sign == "(":
            opened.append(position)
        elif sign == ")" and opened:
            inside = sql[opened.pop() + 1 : position].strip()
            if inside.lower().startswith("select "):
                yield inside


def _wording(query: str) -> str | None:
    for pattern, words in _WORDINGS:
        if found := pattern.fullmatch(query):
            return words.format(**{name: value.replace("''", "'") for name, value in found.groupdict().items()})
    return None


def asked(turns: list[Turn], number: int) -> str:
    """What is asked in a turn, with the turns before it, whose answers are not given."""
    if number == 0:
        return turns[0].question
    before = "\n".join(f"Turn {place}: {turn.question}" for place, turn in enumerate(turns[:number], start=1))
    return f"{before}\nTurn {number + 1}: {turns[number].question}\nAnswer turn {number + 1}."
