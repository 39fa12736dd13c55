"""Answers that are graded by evidence: outputs for hidden inputs, predictions for all rows, a server's state."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.reward.answers import (
    Answer,
    IntegerAnswer,
    IntervalAnswer,
    OutputsAnswer,
    PredictionsAnswer,
    StateAnswer,
)
from copilot.reward.graders import grade
from copilot.reward.intervals import read_interval
from copilot.reward.outputs import same_json
from copilot.reward.predictions import auroc

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
GESTATION = IntervalAnswer(days=205)
OUTPUTS = OutputsAnswer(inputs=("ACGT", "GG"), outputs=(0.5, {"gc": [2, True]}))
LABELS = {"1": True, "2": True, "3": False, "4": False}
PREDICTIONS = PredictionsAnswer(labels=LABELS, bar=0.7)
ORDER = {"resourceType": "ServiceRequest", "code": {"coding": [{"code": "4548-4"}]}}
STATE = StateAnswer(value=IntegerAnswer(value=7), created=(ORDER,))
HOSTILE = [
    None,
    True,
    0,
    10**5000,
    "x" * 100,
    [],
    {},
    [[]] * 60,
    {"created": [{}] * 1000},
    {"value": 10**5000},
    math.nan,
]


@pytest.mark.parametrize("answer", [GESTATION, OUTPUTS, PREDICTIONS, STATE], ids=lambda answer: answer.kind)
@pytest.mark.parametrize("submitted", HOSTILE, ids=lambda value: type(value).__name__)
def test_hostile_evidence_is_wrong_and_never_raises(answer: Answer, submitted: object) -> None:
    verdict = grade(answer, submitted)
    assert not verdict.correct
    assert 0 < len(verdict.reason) < 300


@given(json_values)
def test_any_json_gets_a_verdict(submitted: object) -> None:
    for answer in (GESTATION, OUTPUTS, PREDICTIONS, STATE):
        assert not grade(answer, submitted).correct
    wrapped = [{"value": submitted}, {"value": submitted}]
    assert not grade(OUTPUTS, wrapped).correct


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("29 weeks, 2 days", 205),
        ("('29 weeks', '2 days')", 205),
        ("(29 weeks, 2 days)", 205),
        ("29w2d", 205),
        ("29 weeks and 2 days", 205),
        ("205 days", 205),
        ("29 weeks", 203),
        (["29 weeks", "2 days"], 205),
        ([29, 2], 205),
        ({"weeks": 29, "days": 2}, 205),
        ("29 weeks 2 weeks", None),
        ("29", None),
        (29, None),
        ([29], None),
        ([29, 2, 1], None),
        ("about 29 weeks", None),
        ("-3 weeks", None),
        ({"weeks": True}, None),
        ([2.5, 1], None),
    ],
)
def test_spans_are_read_by_unit(text: object, days: int | None) -> None:
    assert read_interval(text) == days


@given(st.integers(0, 60), st.integers(0, 6))
def test_every_notation_of_a_span_is_the_same(weeks: int, days: int) -> None:
    answer = IntervalAnswer(days=7 * weeks + days)
    forms = (f"{weeks} weeks, {days} days", [weeks, days], f"{weeks}w{days}d", {"days": days, "weeks": weeks})
    assert all(grade(answer, form).correct for form in forms)
    assert not grade(answer, [weeks, days + 1]).correct


@given(json_values)
def test_json_equals_itself_and_not_something_beside_it(value: object) -> None:
    assert same_json(value, value, rel_tol=1e-6)
    assert not same_json(value, [value], rel_tol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "got", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0.3, 0.1 + 0.2, True),
        (100.0, 100.00009, True),
        (100.0, 100.0002, False),
        (0, 1e-12, True),
        ("A", "a", False),
        ("1", 1, False),
        (None, 0, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [2, 1], False),
        (1.0, math.nan, False),
    ],
)
def test_outputs_are_compared_by_value_and_type(wanted: object, got: object, same: bool) -> None:
    assert same_json(wanted, got, rel_tol=1e-6) is same


def test_all_outputs_count() -> None:
    right = [{"value": 0.5}, {"value": {"gc": [2, True]}}]
    assert grade(OUTPUTS, right).correct
    assert not grade(OUTPUTS, right[:1]).correct
    assert not grade(OUTPUTS, [*right, *right]).correct
    failed = grade(OUTPUTS, [right[0], {"error": "NameError: x"}])
    assert "case 2 of 2 failed: NameError" in failed.reason


def test_predictions_in_closed_form() -> None:
    ranked = {"1": 0.9, "2": 0.4, "3": 0.6, "4": 0.1}
    assert auroc(LABELS, ranked) == 0.75
    verdict = grade(PREDICTIONS, ranked)
    assert verdict.correct
    assert verdict.reason == "AUROC 0.7500, accuracy 0.5000 over 4 rows; bar 0.7000"
    assert grade(PREDICTIONS, [[1, 0.9], [2.0, 0.4], ["3", 0.6], [4, 0.1]]).correct
    assert not grade(PREDICTIONS, dict.fromkeys(LABELS, 0.5)).correct
    assert not grade(PREDICTIONS, {row: 1 - p for row, p in ranked.items()}).correct


@pytest.mark.parametrize(
    "submitted",
    [
        {"1": 0.9},
        {"1": 0.9, "2": 0.9, "3": 0.1, "4": 0.1, "5": 0.1},
        {"1": 9, "2": 8, "3": 1, "4": 0},
        {"1": None, "2": 0.9, "3": 0.1, "4": 0.1},
        [[1, 0.9], [1, 0.9], [3, 0.1], [4, 0.1]],
        [0.9, 0.9, 0.1, 0.1],
        [[1, 0.9, 0], [2, 0.9, 0], [3, 0.1, 0], [4, 0.1, 0]],
    ],
)
def test_all_rows_must_be_predicted_once(submitted: object) -> None:
    assert not grade(PREDICTIONS, submitted).correct


@given(st.integers(0, 10**6))
def test_the_area_is_the_share_of_pairs(seed: int) -> None:
    rng = random.Random(seed)
    table = {str(i): rng.choice((0.0, 0.2, 0.5, 0.9)) for i in range(12)}
    labels = {row: i % 3 == 0 for i, row in enumerate(table)}
    pairs = [(table[p], table[n]) for p in labels if labels[p] for n in labels if not labels[n]]
    share = sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs)
    assert auroc(labels, table) == pytest.approx(share)
    assert auroc(labels, {row: 1 - p for row, p in table.items()}) == pytest.approx(1 - share)


def test_a_state_needs_all_and_no_more() -> None:
    order = {"resourceType": "ServiceRequest", "id": "9", "code": {"coding": [{"system": "loinc", "code": "4548-4"}]}}
    other = {**order, "code": {"coding": [{"code": "2823-3"}]}}
    assert grade(STATE, {"value": 7, "created": [order]}).correct
    assert not grade(STATE, {"value": 8, "created": [order]}).correct
    assert not grade(STATE, {"value": 7, "created": []}).correct
    assert not grade(STATE, {"value": 7, "created": [order, order]}).correct
    assert not grade(STATE, {"value": 7, "created": [other]}).correct
    both = StateAnswer(created=(ORDER, {"resourceType": "ServiceRequest"}))
    assert grade(both, {"created": [order, other]}).correct
    assert grade(both, {"created": [other, order]}).correct
