"""Submissions that know nothing must score nothing: no better than always giving the most common answer."""

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
from pydantic import JsonValue

from copilot.envs.sources.base import get_source
from copilot.envs.task import Task
from copilot.reward.answers import IntegerAnswer, RealAnswer, RowsAnswer, UnanswerableAnswer
from copilot.reward.graders import grade

CONSTANTS: tuple[JsonValue, ...] = (
    0, 1, 2, 3, 4, 5, 10, 20, 50, 100, 140, 1000, -1, 0.5, 1.0, 1.5, 25.0, True, False, None, "", " ", "yes", "no",
    "0", "1", "unknown", "N/A", "none", "nan", math.nan, math.inf, -math.inf, "2100-12-31", "M", "F", "white",
    "answer", "*", "%", [], {}, [[]], [None], [[None]], [0], [1], {"answer": 1}, "SELECT 1", "unanswerable",
)  # fmt: skip


def words(task: Task) -> JsonValue:
    return list(task.question.split())


def numbers(task: Task) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", task.question)


JUNK: dict[str, Callable[[Task], JsonValue]] = {
    **{f"constant {value!r}": lambda _task, value=value: value for value in CONSTANTS},
    "spray of integers": lambda _task: list(range(200)),
    "spray as rows": lambda _task: [[n] for n in range(200)],
    "spray as text": lambda _task: " ".join(map(str, range(2000))),
    "spray of tenths": lambda _task: [n / 10 for n in range(5000)],
    "every letter": lambda _task: "abcdefghijklmnopqrstuvwxyz 0123456789 true false yes no",
    "echo": lambda task: task.question,
    "echo of words": words,
    "echo of numbers": lambda task: list(numbers(task)),
    "first number": lambda task: next(iter(numbers(task)), None),
    "last number": lambda task: next(iter(reversed(numbers(task))), None),
    "category": lambda task: task.category,
    "task id": lambda task: task.id,
    "wrapped question": lambda task: {"question": task.question, "answer": [[[task.question]]]},
}


@functools.cache
def tasks(source: str) -> tuple[Task, ...]:
    splits = ("test_seen", "test_unseen")
    return tuple(task for split in splits for task in get_source(source).tasks(split, limit=300))


def by_kind(source: str) -> dict[str, list[Task]]:
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in tasks(source):
        groups[task.reference.answer.kind].append(task)
    return groups


def pass_rate(junk: Callable[[Task], JsonValue], group: list[Task]) -> float:
    return sum(grade(task.reference.answer, junk(task)).correct for task in group) / len(group)


@pytest.mark.parametrize("source", ["clinical_calc", "ehr_sql"])
def test_junk_is_no_better_than_the_most_common_answer(source: str) -> None:
    for kind, group in by_kind(source).items():
        golds = Counter(task.reference.answer.model_dump_json() for task in group)
        share = max(golds.values()) / len(group)
        # counts and scores are small numbers: where one answer is that common, guessing it is the floor
        bound = max(0.02, share + 0.01) if len(golds) > 50 else share + 0.01
        rates = {name: pass_rate(junk, group) for name, junk in JUNK.items()}
        worst = max(rates, key=lambda name: rates[name])
        assert rates[worst] <= bound, f"{source} {kind}: {worst} passes {rates[worst]:.1%} of {len(group)}"


@pytest.mark.parametrize("source", ["clinical_calc", "ehr_sql"])
def test_real_answers_and_tables_have_no_cheap_guess(source: str) -> None:
    """Measured quantities vary, so here 2 % is the bound whatever the distribution; one-cell rows are values too."""
    groups = by_kind(source)
    tables = [t for t in groups.get("rows", []) if isinstance(a := t.reference.answer, RowsAnswer) and len(a.rows) > 1]
    for group in filter(None, (groups.get("real", []), tables)):
        for name, junk in JUNK.items():
            assert pass_rate(junk, group) <= 0.02, name


def test_unanswerable_is_the_floor_of_its_own_kind_only() -> None:
    for task in tasks("ehr_sql"):
        expected = isinstance(task.reference.answer, UnanswerableAnswer)
        assert grade(task.reference.answer, "unanswerable").correct is expected


def test_the_limits_are_narrow_enough_to_tell_the_formula_from_its_inputs() -> None:
    """Handing in one of the note's own numbers (an uncorrected sodium, the raw QT) must not pass for the answer."""
    group = [t for t in tasks("clinical_calc") if isinstance(t.reference.answer, RealAnswer | IntegerAnswer)]
    real = [t for t in group if isinstance(t.reference.answer, RealAnswer)]
    assert pass_rate(lambda task: next(iter(numbers(task)), None), real) < 0.02
    copied = sum(any(grade(t.reference.answer, n).correct for n in numbers(t)) for t in real) / len(real)
    assert copied < 0.12
