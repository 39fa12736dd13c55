"""The published rules with their faults, the types that pass rates are counted by, and sets and lists."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from copilot.envs.junk import TRACEBACK
from copilot.reward.answers import (
    Answer,
    BooleanAnswer,
    DateAnswer,
    IntegerAnswer,
    ListAnswer,
    PredictionsAnswer,
    RealAnswer,
    RowsAnswer,
    SetAnswer,
    StringAnswer,
    UnanswerableAnswer,
)
from copilot.reward.graders import grade
from copilot.reward.paper import RULES, PaperRule, Printed, paper_score
from copilot.reward.types import key_of, type_of


def score(row: str, answer: Answer, output: str, *, failed: bool = False) -> float:
    return paper_score(RULES[row], answer, Printed(output=output, failed=failed))


@pytest.mark.parametrize(
    ("row", "answer", "output", "expected"),
    [
        ("MIMIC-III", IntegerAnswer(value=8), "183\n", 1.0),
        ("MIMIC-III", IntegerAnswer(value=1), TRACEBACK, 1.0),
        ("MIMIC-III", BooleanAnswer(value=True), "True", 1.0),
        ("MIMIC-III", BooleanAnswer(value=False), "False", 1.0),
        ("MIMIC-III", BooleanAnswer(value=False), "True False", 0.0),
        ("MIMIC-III", RealAnswer(value=5.0), "15", 1.0),
        ("MIMIC-III", StringAnswer(value="po"), "report", 1.0),
        ("TREQS", RowsAnswer(rows=(("a", "b"), ("c", "d"))), "b then a", 1.0),
        ("TREQS", RowsAnswer(rows=(("a", "b"),)), "b only", 0.0),
        ("EHR-SeqSQL", IntegerAnswer(value=3), "", 1.0),
        ("BioDSBench", IntegerAnswer(value=3), "", 1.0),
        ("EHRCon", BooleanAnswer(value=True), "true or false", 1.0),
        ("EHRCon", BooleanAnswer(value=False), "false", 1.0),
        ("EHRCon", BooleanAnswer(value=False), "", 0.0),
        ("MedCalcBench", RealAnswer(value=27.3), "1", 1.0),
        ("MedCalcBench", RealAnswer(value=27.3), "1000000", 1.0),
        ("MedCalcBench", DateAnswer(value="2100-01-01"), "2100-01-01", 0.0),
        ("MedCalcBench", RealAnswer(value=27.3), "about 27.3", 0.0),
        ("N-PowerAI", IntegerAnswer(value=42), "42", 1.0),
        ("N-PowerAI", IntegerAnswer(value=42), "42.0", 0.0),
        ("N-PowerAI", RealAnswer(value=0.8), "0.801", 1.0),
        ("N-PowerAI", RealAnswer(value=0.8), "0.82", 0.0),
    ],
)
def test_published_rules(row: str, answer: Answer, output: str, expected: float) -> None:
    assert score(row, answer, output) == expected


def test_published_rules_look_at_crashes_and_rows_as_the_released_code_does() -> None:
    assert score("BioDSBench", IntegerAnswer(value=3), "", failed=True) == 0.0
    assert score("EHR-SeqSQL", IntegerAnswer(value=3), TRACEBACK, failed=True) == 1.0
    labels = PredictionsAnswer(labels={"a": True, "b": False, "c": False}, bar=0.7)
    one = Printed(output="", predictions={"a": 0.9})
    assert paper_score(PaperRule.PREDICTED_ROWS, labels, one) == 1.0
    half = Printed(output="", predictions={"a": 0.9, "b": 1.0, "zzz": 1.0})
    assert paper_score(PaperRule.PREDICTED_ROWS, labels, half) == 0.5
    assert paper_score(PaperRule.PREDICTED_ROWS, labels, Printed(output="1")) == 0.0


@given(st.floats(0.1, 1e6), st.floats(0, 1e9))
def test_one_sided_five_percent_lets_every_number_pass(gold: float, found: float) -> None:
    assert score("MedCalcBench", RealAnswer(value=gold), repr(found)) == 1.0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (IntegerAnswer(value=3), "small count"),
        (IntegerAnswer(value=50), "number"),
        (IntegerAnswer(value=-1), "number"),
        (RealAnswer(value=2.0), "small count"),
        (RealAnswer(value=2.5), "number"),
        (RealAnswer(value=math.inf), "number"),
        (RealAnswer(value=math.nan), "number"),
        (BooleanAnswer(value=True), "boolean"),
        (RowsAnswer(rows=(("7",),)), "small count"),
        (RowsAnswer(rows=(("0.7",),)), "number"),
        (RowsAnswer(rows=(("2100-12-31 10:00:00",),)), "date"),
        (RowsAnswer(rows=(("nan",),)), "text"),
        (RowsAnswer(rows=(("a",), ("b",))), "set"),
        (RowsAnswer(rows=(("a", 1),)), "table"),
        (RowsAnswer(rows=()), "nothing"),
        (RowsAnswer(rows=((None,),)), "nothing"),
        (StringAnswer(value="a"), "text"),
        (StringAnswer(value="F"), "sex"),
        (RowsAnswer(rows=(("male",),)), "sex"),
        (SetAnswer(values=("a",)), "set"),
        (UnanswerableAnswer(), "unanswerable"),
    ],
)
def test_types(answer: Answer, kind: str) -> None:
    assert type_of(answer) == kind


def test_equal_references_have_equal_keys_whatever_their_tolerance() -> None:
    assert key_of(RealAnswer(value=2.5, rel_tol=0.1)) == key_of(RealAnswer(value=2.5, lower=2, upper=3))
    assert key_of(RealAnswer(value=2.5)) != key_of(RealAnswer(value=2.6))
    twos = (
        IntegerAnswer(value=2),
        RealAnswer(value=2.0, lower=1),
        RowsAnswer(rows=(("2.0",),)),
        RowsAnswer(rows=((2,),)),
    )
    assert {key_of(two) for two in twos} == {"2"}
    assert key_of(StringAnswer(value="2")) != "2"


values = st.lists(st.text("abcxyz", min_size=1, max_size=4) | st.integers(-99, 99), min_size=1, max_size=8)


@given(values, st.randoms())
def test_a_set_has_no_order_and_no_repetitions(found: list[str | int], rng: object) -> None:
    answer = SetAnswer(values=tuple(found))
    shuffled: list[JsonValue] = [*found, *found]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    rows: JsonValue = [[value] for value in shuffled]
    assert grade(answer, shuffled).correct
    assert grade(answer, rows).correct


@given(values, values)
def test_sets_are_equal_both_ways_or_not_at_all(left: list[str | int], right: list[str | int]) -> None:
    ours: list[JsonValue] = list(left)
    theirs: list[JsonValue] = list(right)
    there = grade(SetAnswer(values=tuple(left)), theirs).correct
    assert there is grade(SetAnswer(values=tuple(right)), ours).correct
    assert there is ({str(v) for v in left} == {str(v) for v in right})


@pytest.mark.parametrize(
    ("submitted", "correct"),
    [
        (["aspirin", "heparin"], True),
        (["Heparin ", "ASPIRIN"], True),
        (["aspirin"], False),
        (["aspirin", "heparin", "insulin"], False),
        ("aspirin, heparin", False),
        ([["aspirin", "heparin"]], False),
        ([{"drug": "aspirin"}, {"drug": "heparin"}], True),
        ([], False),
        (None, False),
        ({"aspirin": "heparin"}, False),
        ([["aspirin"], [["heparin"]]], False),
        (list(range(10_000)), False),
    ],
)
def test_sets_of_drugs(submitted: JsonValue, correct: bool) -> None:
    verdict = grade(SetAnswer(values=("aspirin", "heparin")), submitted)
    assert verdict.correct is correct
    assert verdict.reason


def test_numbers_in_sets_and_lists_have_a_tolerance_at_its_edge() -> None:
    assert grade(SetAnswer(values=(1.5, 3.25)), [3.2532, 1.5]).correct
    assert not grade(SetAnswer(values=(1.5, 3.25)), [3.26, 1.5]).correct
    assert not grade(SetAnswer(values=(10006,)), [10007]).correct
    assert not grade(SetAnswer(values=(1.5,)), [math.nan]).correct
    assert grade(ListAnswer(values=("a", 2.5)), ["A", 2.501]).correct
    assert not grade(ListAnswer(values=("a", "b")), ["b", "a"]).correct
    assert not grade(ListAnswer(values=("a", "b")), ["a", "b", "b"]).correct
    assert grade(ListAnswer(values=("a",)), "a").correct
