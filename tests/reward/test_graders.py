import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.errors import InfrastructureError
from copilot.reward.answers import (
    Answer,
    BooleanAnswer,
    DateAnswer,
    IntegerAnswer,
    RealAnswer,
    RowsAnswer,
    StringAnswer,
    UnanswerableAnswer,
)
from copilot.reward.graders import accepted_range, grade

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
answers = st.one_of(
    st.builds(IntegerAnswer, value=st.integers()),
    st.builds(RealAnswer, value=st.floats(), rel_tol=st.floats(0, 0.1)),
    st.builds(BooleanAnswer, value=st.booleans()),
    st.builds(StringAnswer, value=st.text(max_size=20)),
    st.sampled_from([DateAnswer(value="2100-12-31"), DateAnswer(value="2100-12-31 23:59:00"), UnanswerableAnswer()]),
    st.builds(
        RowsAnswer,
        rows=st.lists(st.tuples(st.none() | st.integers() | st.floats() | st.text(max_size=8)), max_size=4).map(tuple),
        ordered=st.booleans(),
    ),
)


@given(answers, json_values)
def test_junk_never_raises_and_always_has_a_short_reason(answer: Answer, submitted: object) -> None:
    verdict = grade(answer, submitted)
    assert verdict.reason
    assert len(verdict.reason) < 300


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE = [
    nested(50_000),
    {"a": nested(5_000)},
    10**5000,
    -(10**5000),
    "9" * 5_000_000,
    "1e999999999",
    "١٢٣",
    "1_000",
    "0x10",
    [[]] * 1000,
    [{}] * 1000,
    {"correct": True},
    "__import__('os')",
    object(),
    b"3",
    {3},
]


@pytest.mark.parametrize("submitted", HOSTILE, ids=lambda value: f"{type(value).__name__}")
@pytest.mark.parametrize(
    "answer",
    [
        IntegerAnswer(value=3),
        RealAnswer(value=3.5),
        BooleanAnswer(value=True),
        StringAnswer(value="three"),
        DateAnswer(value="2100-12-31"),
        RowsAnswer(rows=((3,),)),
        RowsAnswer(rows=((3, "x"), (4, "y"))),
        UnanswerableAnswer(),
    ],
    ids=lambda answer: answer.kind,
)
def test_hostile_values_are_simply_wrong(answer: Answer, submitted: object) -> None:
    assert not grade(answer, submitted).correct


@pytest.mark.parametrize(
    ("submitted", "correct"),
    [
        (3, True), (3.0, True), ("3", True), (" 3.0 ", True), ("3e0", True), ("+3", True), (3.0000000001, True),
        (3.2, False), ("3.2", False), (4, False), (-3, False), (True, False), (None, False), ("", False),
        ("three", False), ("3 patients", False), ("the answer is 3", False), ("1 2 3 4", False), ("3,0", False),
        ([3], False), ({"answer": 3}, False), (math.nan, False), (math.inf, False), ("nan", False), ("003", False),
    ],
)  # fmt: skip
def test_integer(submitted: object, correct: bool) -> None:
    assert grade(IntegerAnswer(value=3), submitted).correct is correct


def test_integers_beyond_float_precision_are_exact() -> None:
    assert grade(IntegerAnswer(value=2**53 + 1), 2**53 + 1).correct
    assert not grade(IntegerAnswer(value=2**53 + 1), float(2**53)).correct


@given(st.integers(-(10**15), 10**15))
def test_integer_accepts_every_notation_of_itself_and_no_neighbour(value: int) -> None:
    answer = IntegerAnswer(value=value)
    assert all(grade(answer, form).correct for form in (value, float(value), str(value), f"{value}.0", f" {value} "))
    assert not any(grade(answer, value + step).correct for step in (-1, 1))


@pytest.mark.parametrize(
    ("submitted", "correct"),
    [
        (62.0, True), (58.9, True), (65.1, True), (58.89, False), (65.11, False), ("62", True), ("62 mL/min", True),
        ("62mL/min", True), ("62 L/min", False), ("62 mL/min mL/min", False), ("about 62", False), (True, False),
        (math.nan, False), (-62.0, False), ([62.0], False), (None, False), ("mL/min", False),
    ],
)  # fmt: skip
def test_real_within_limits_and_with_its_own_unit_only(submitted: object, correct: bool) -> None:
    answer = RealAnswer(value=62.0, lower=58.9, upper=65.1, unit="mL/min")
    assert grade(answer, submitted).correct is correct


@given(st.floats(1e-6, 1e9), st.floats(1e-6, 0.2), st.booleans())
def test_real_tolerance_edges(magnitude: float, rel_tol: float, negative: bool) -> None:
    value = -magnitude if negative else magnitude
    answer = RealAnswer(value=value, rel_tol=rel_tol)
    tolerance = magnitude * rel_tol
    for side in (-1, 1):
        assert grade(answer, value + side * tolerance * 0.999).correct
        assert not grade(answer, value + side * (tolerance * 1.001 + magnitude * 1e-11)).correct


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0, 10))
def test_real_absolute_tolerance_is_symmetric(a: float, b: float, tolerance: float) -> None:
    forth = grade(RealAnswer(value=a, abs_tol=tolerance, rel_tol=0), b).correct
    back = grade(RealAnswer(value=b, abs_tol=tolerance, rel_tol=0), a).correct
    # at the very edge the last bits of the two values decide
    assert forth == back or math.isclose(abs(a - b), tolerance, rel_tol=1e-9, abs_tol=1e-5)


@given(st.floats(-1e9, 1e9))
def test_real_accepts_every_notation_of_itself(value: float) -> None:
    answer = RealAnswer(value=value, unit="mg/dL")
    assert all(grade(answer, form).correct for form in (value, repr(value), f"{value!r} mg/dL", f"{value:.17e}"))


def test_one_limit_leaves_no_side_open() -> None:
    low, high = accepted_range(RealAnswer(value=10.0, lower=9.0, rel_tol=0.1))
    assert (low, round(high, 9)) == (9.0, 11.0)


@pytest.mark.parametrize("special", [math.inf, -math.inf, math.nan])
def test_nan_and_infinity_are_right_only_when_the_reference_is(special: float) -> None:
    assert grade(RealAnswer(value=special), special).correct
    assert not grade(RealAnswer(value=special), 1.0).correct
    assert not grade(RealAnswer(value=1.0, lower=-math.inf, upper=math.inf), special).correct
    assert not grade(RealAnswer(value=special), -special if not math.isnan(special) else math.inf).correct


@pytest.mark.parametrize(
    ("submitted", "read"),
    [
        (True, True), (1, True), (1.0, True), ("yes", True), ("TRUE", True), (" 1 ", True),
        (False, False), (0, False), ("no", False), ("False", False), ("0", False),
        (2, None), (-1, None), (None, None), ("", None), ("yes, it is", None), ([True], None), (math.nan, None),
    ],
)  # fmt: skip
def test_boolean(submitted: object, read: bool | None) -> None:
    assert grade(BooleanAnswer(value=True), submitted).correct is (read is True)
    assert grade(BooleanAnswer(value=False), submitted).correct is (read is False)


@pytest.mark.parametrize(
    ("submitted", "correct"),
    [
        ("Ward 3", True), (" ward 3\n", True), ("W3", True), ("ward", False), ("ward 3 and ward 4", False),
        ("", False), (3, False), (["Ward 3"], False), (None, False), ("ward  3", False),
    ],
)  # fmt: skip
def test_string(submitted: object, correct: bool) -> None:
    assert grade(StringAnswer(value="ward 3", aliases=("w3",)), submitted).correct is correct


def test_string_of_digits_may_be_submitted_as_an_integer_and_unicode_forms_are_one() -> None:
    assert grade(StringAnswer(value="10"), 10).correct
    assert not grade(StringAnswer(value="1"), True).correct
    assert grade(StringAnswer(value="Sjögren"), "sjo\u0308gren").correct


@pytest.mark.parametrize(
    ("reference", "submitted", "correct"),
    [
        ("2100-12-31", "2100-12-31", True),
        ("2100-12-31", "12/31/2100", True),
        ("2100-12-31", "31/12/2100", True),
        ("2100-12-31", "31.12.2100", True),
        ("2100-12-31", "Dec 31, 2100", True),
        ("2100-12-31", "31 December 2100", True),
        ("2100-12-31", "2100-12-31T08:00:00", True),
        ("2100-12-31", "2100/12/31", True),
        ("2100-04-03", "04/03/2100", True),
        ("2100-03-04", "04/03/2100", False),
        ("2100-12-31", "2100-12-30", False),
        ("2100-12-31", "12/31/00", False),
        ("2100-12-31", "2100", False),
        ("2100-12-31", 21001231, False),
        ("2100-12-31", "on 2100-12-31", False),
        ("2100-02-28", "2100-02-30", False),
        ("2100-12-31 23:59:00", "2100-12-31 23:59:00", True),
        ("2100-12-31 23:59:00", "2100-12-31T23:59:00.000000", True),
        ("2100-12-31 23:59:00", "2100-12-31 23:59", True),
        ("2100-12-31 23:59:00", "12/31/2100 11:59 PM", True),
        ("2100-12-31 23:59:00", "2100-12-31 23:59:01", False),
        ("2100-12-31 23:59:00", "2100-12-31", False),
        ("2100-12-31 00:00:00", "2100-12-31", True),
        ("2100-12-31 23:59", "2100-12-31 23:59:30", True),
        ("2100-12-31 23:59", "23:59", False),
        ("13:30:00", "1:30 PM", True),
        ("13:30:00", "13:30:00", True),
        ("13:30:00", "1:30", False),
        ("00:00:00", "2100-12-31", False),
        ("13:30:00", "25:30", False),
        ("13:30:00", "13:30 pm", False),
    ],
)
def test_date(reference: str, submitted: object, correct: bool) -> None:
    assert grade(DateAnswer(value=reference), submitted).correct is correct


@given(st.datetimes(min_value=datetime(1900, 1, 1)))
def test_date_notations_of_the_same_moment(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    second = DateAnswer(value=moment.isoformat(sep=" "))
    for form in ("%Y-%m-%dT%H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d %b %Y %I:%M:%S %p", "%B %d, %Y %H:%M:%S"):
        assert grade(second, moment.strftime(form)).correct
    day = DateAnswer(value=moment.date().isoformat())
    for form in ("%Y-%m-%d", "%m/%d/%Y", "%d.%m.%Y", "%d-%b-%Y", "%B %d, %Y"):
        assert grade(day, moment.strftime(form)).correct


def test_a_reference_that_is_no_date_is_our_failure_not_the_policys() -> None:
    with pytest.raises(InfrastructureError, match="grader"):
        grade(DateAnswer(value="soon"), "2100-12-31")


@given(answers, st.sampled_from(["unanswerable", " Unanswerable ", "UNANSWERABLE"]))
def test_unanswerable_is_right_only_for_unanswerable_questions(answer: Answer, submitted: object) -> None:
    if not (isinstance(answer, StringAnswer) and answer.value.strip().casefold() == "unanswerable"):
        assert grade(answer, submitted).correct is isinstance(answer, UnanswerableAnswer)


@given(json_values.filter(lambda value: not isinstance(value, str)))
def test_nothing_but_the_word_is_right_for_unanswerable_questions(submitted: object) -> None:
    assert not grade(UnanswerableAnswer(), submitted).correct
    assert not grade(UnanswerableAnswer(), "the question is unanswerable").correct


@given(answers)
def test_a_reference_equals_itself_and_survives_json(answer: Answer) -> None:
    if isinstance(answer, UnanswerableAnswer):
        return
    own = [list(row) for row in answer.rows] if isinstance(answer, RowsAnswer) else answer.value
    same = any(isinstance(c, float) and math.isinf(c) for row in own for c in row) if isinstance(own, list) else False
    assert same or grade(answer, own).correct
