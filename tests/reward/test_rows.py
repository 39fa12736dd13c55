import ast
import gzip
import json
import math
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.reward.answers import RowsAnswer, Scalar
from copilot.reward.graders import grade

cells = st.none() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=6)
tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=6)
)


def rows(*reference: tuple[Scalar, ...], ordered: bool = False, rel_tol: float = 1e-3) -> RowsAnswer:
    return RowsAnswer(rows=reference, ordered=ordered, rel_tol=rel_tol)


@pytest.mark.parametrize(
    ("reference", "submitted", "correct"),
    [
        # EHRSQL-2024 gold answers are texts in one-cell rows
        (rows(("0.95",)), 0.95, True),
        (rows(("0.95",)), "0.95", True),
        (rows(("0.95",)), [["0.95"]], True),
        (rows(("0.95",)), [0.95], True),
        (rows(("0.95",)), 0.9505, True),
        (rows(("0.95",)), 0.952, False),
        (rows(("0.95",)), "0.95 mg", False),
        (rows(("0.95",)), [[0.95], [0.95]], False),
        (rows(("0.95",)), [[0.95, 0.95]], False),
        (rows(("0.95",)), [[[0.95]]], False),
        (rows(("0.95",)), {"value": 0.95}, False),
        (rows(("0.95",)), None, False),
        (rows(("1",)), 1, True),
        (rows(("1",)), True, True),
        (rows(("1",)), "yes", False),
        (rows(("1260.0",)), 1260, True),
        (rows(("2100-09-22 13:30:00",)), "2100-09-22T13:30:00", True),
        (rows(("2100-09-22 13:30:00",)), "2100-09-22", False),
        (rows(("2100-09-22",)), "2100-09-22 00:00:00", True),
        (rows(("2100-09-22",)), "2100-09-22 13:30:00", False),
        (rows(("rosuvastatin calcium",)), "Rosuvastatin Calcium ", True),
        (rows(("rosuvastatin calcium",)), "rosuvastatin", False),
        (rows(("rosuvastatin calcium",)), "aspirin, rosuvastatin calcium", False),
        # identifiers and counts are exact
        (rows((10018328,)), 10018329, False),
        (rows((10018328,)), 10018328.0, True),
        (rows(("0389",)), "0389", True),
        (rows(("0389",)), 389, False),
        (rows((1000,)), 1000.9, False),
        (rows((3,)), 2.9999999999, True),
        # columns
        (rows(("a",), ("b",), ("b",)), ["b", "a", "b"], True),
        (rows(("a",), ("b",), ("b",)), [["b"], ["b"], ["a"]], True),
        (rows(("a",), ("b",), ("b",)), ["a", "b"], False),
        (rows(("a",), ("b",), ("b",)), ["a", "a", "b"], False),
        (rows(("a",), ("b",)), [["a", "b"]], False),
        (rows(("a",), ("b",), ordered=True), ["a", "b"], True),
        (rows(("a",), ("b",), ordered=True), ["b", "a"], False),
        # one row: flat list accepted; the order of columns counts
        (rows(("a", 2)), ["a", 2], True),
        (rows(("a", 2)), [["a", 2]], True),
        (rows(("a", 2)), [2, "a"], False),
        (rows(("a", 2)), [{"name": "a", "n": 2}], True),
        (rows(("a", 2), ("b", 1)), [{"name": "b", "n": 1}, {"name": "a", "n": 2}], True),
        (rows(("a", 2), ("b", 1)), [[2, "a"], [1, "b"]], False),
        (rows(("a", 2), ("b", 1)), ["a", 2], False),
        # nulls, emptiness, NaN
        (rows((None,)), None, True),
        (rows((None,)), "None", False),
        (rows((None,)), 0, False),
        (rows((None,)), math.nan, False),
        (rows((0.0,)), 1e-15, True),
        (rows((0.0,)), 0.001, False),
        (rows(), [], True),
        (rows(), None, False),
        (rows(), [[]], False),
        (rows((1,)), [], False),
        (rows((2.5,)), math.nan, False),
        (rows((math.nan,)), math.nan, True),
        (rows((math.inf,)), "inf", False),
        (rows(("inf",)), "INF", True),
    ],
)  # fmt: skip
def test_rows(reference: RowsAnswer, submitted: object, correct: bool) -> None:
    assert grade(reference, submitted).correct is correct


def test_a_tolerant_match_is_found_where_greedy_pairing_fails() -> None:
    # 100.0 fits both references, 99.95 only the first: whoever pairs 100.0 with the first is stuck
    reference = rows((100.0, 5.0), (100.08, 5.002))
    assert grade(reference, [[100.0, 5.001], [99.95, 5.001]]).correct
    assert not grade(reference, [[99.95, 5.001], [99.95, 5.001]]).correct


@given(tables, st.randoms(use_true_random=False))
def test_unordered_rows_are_permutation_invariant(table: list[list[Scalar]], rng: random.Random) -> None:
    reference = RowsAnswer(rows=tuple(tuple(row) for row in table))
    shuffled = random.Random(rng.random()).sample(table, len(table))
    assert grade(reference, shuffled).correct


@given(tables)
def test_ordered_rows_accept_themselves_and_a_reversal_only_when_it_is_equal(table: list[list[Scalar]]) -> None:
    reference = RowsAnswer(rows=tuple(tuple(row) for row in table), ordered=True)
    assert grade(reference, table).correct
    if [[str(c) for c in row] for row in table] == [[str(c) for c in row] for row in table[::-1]]:
        assert grade(reference, table[::-1]).correct


@given(tables, st.integers(0, 5))
def test_a_missing_or_doubled_row_is_wrong(table: list[list[Scalar]], index: int) -> None:
    reference = RowsAnswer(rows=tuple(tuple(row) for row in table))
    index %= len(table)
    assert not grade(reference, table[:index] + table[index + 1 :]).correct
    assert not grade(reference, [*table, table[index]]).correct


@given(tables, tables)
def test_equality_with_exact_numbers_is_symmetric(one: list[list[Scalar]], other: list[list[Scalar]]) -> None:
    def same(a: list[list[Scalar]], b: list[list[Scalar]]) -> bool:
        return grade(RowsAnswer(rows=tuple(tuple(row) for row in a), rel_tol=0), b).correct

    if not any(isinstance(cell, float) for row in one + other for cell in row) and len(one[0]) == len(other[0]):
        assert same(one, other) == same(other, one)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_columns_of_numbers_accept_noise_within_and_refuse_noise_beyond_the_tolerance(
    values: list[float], rng: random.Random
) -> None:
    reference = RowsAnswer(rows=tuple((value,) for value in values), rel_tol=1e-3)
    noisy = [value * (1 + rng.uniform(-9e-4, 9e-4)) for value in values]
    rng.shuffle(noisy)
    assert grade(reference, noisy).correct
    assert not grade(reference, [*noisy[1:], max(values) * 1.01]).correct or max(values) * 1.01 <= noisy[0] * 1.002


def test_cells_keep_their_types_through_a_suite_file() -> None:
    answer = rows((1, 1.0, True, "1", None))
    back = RowsAnswer.model_validate_json(answer.model_dump_json())
    assert [type(cell) for cell in back.rows[0]] == [int, float, bool, str, type(None)]


@pytest.mark.skipif("MED_COPILOT_DATA" not in os.environ, reason="MED_COPILOT_DATA is not set")
def test_ehrsql2024_gold_answers_grade_themselves_and_not_each_other() -> None:
    path = Path(os.environ["MED_COPILOT_DATA"], "ehrsql2024_mimic_iv_demo/tasks_v1.0/valid_answer.json.gz")
    gold = {key: text for key, text in json.loads(gzip.decompress(path.read_bytes())).items() if text != "null"}
    tables = [ast.literal_eval(text) for text in gold.values()]
    references = [RowsAnswer(rows=tuple(tuple(row) for row in table)) for table in tables]
    for reference, table in zip(references, tables, strict=True):
        assert grade(reference, table).correct
        assert grade(reference, random.Random(0).sample(table, len(table))).correct
        assert not grade(reference, [*table, ["junk"]]).correct
    # one question's answer must not pass for the next one's, unless they are the same number or text
    passed = sum(grade(r, t).correct for r, t in zip(references, tables[1:] + tables[:1], strict=True))
    assert passed / len(tables) < 0.05
