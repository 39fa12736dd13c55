import ast
import hashlib
import itertools
import random
import re
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.envs.actions import ExecuteCode, Submit
from copilot.envs.sources.base import get_source
from copilot.envs.sources.clinical_calc import SOURCE
from copilot.envs.sources.clinical_calc.catalogue import (
    ALL_HELD_OUT,
    ALL_TRAINED,
    CALCULATORS,
    FIRST,
    HELD_OUT,
    SECOND,
    TRAINED,
)
from copilot.envs.sources.clinical_calc.patients import Patient, draw_patient, split_of
from copilot.envs.sources.clinical_calc.quantities import BILIRUBIN, CREATININE, GLUCOSE, TEMPERATURE, WEIGHT
from copilot.envs.sources.clinical_calc.records import Calculator, Day, Finding, Grading, Quantity, Unit
from copilot.envs.sources.clinical_calc.source import make_task, program, reference_answer
from copilot.envs.sources.clinical_calc.vignettes import Phrasing, write_question
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.answers import DateAnswer, IntegerAnswer, IntervalAnswer, RealAnswer
from copilot.reward.graders import grade

ALL = pytest.mark.parametrize("calculator", list(CALCULATORS.values()), ids=lambda c: c.name)
_ALLOWED = {"sum": sum, "dict": dict, "min": min, "max": max, "round": round, "str": str, "__import__": __import__}

STREAMS = {
    "train": "45a10cebd4afdbc5",
    "valid": "41c7658e2f83acd2",
    "test_seen": "3c72ec2792097e48",
    "test_unseen": "3058d7c50cd29d67",
}


def run(text: str) -> Any:
    """The ``answer`` of a reference program, which may use little more than arithmetic."""
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(isinstance(node, ast.ImportFrom) and node.module in ("math", "datetime") for node in imports)
    world: dict[str, Any] = {"__builtins__": _ALLOWED}
    exec(text, world)  # our own program text
    return world["answer"]


def patients(calculator: Calculator, count: int, seed: int = 0) -> list[Patient]:
    rng = random.Random(f"{calculator.name}/{seed}")
    return [draw_patient(calculator, rng) for _ in range(count)]


@ALL
def test_reference_program_and_formula_agree(calculator: Calculator) -> None:
    for patient in patients(calculator, 150):
        answer = run(program(calculator, patient))
        if calculator.gives == "number":
            assert answer == pytest.approx(calculator.formula(patient.values), rel=1e-9, abs=1e-9)
        assert grade(reference_answer(calculator, patient), answer).correct


@ALL
def test_answers_are_typed_finite_and_refuse_what_is_outside_the_limits(calculator: Calculator) -> None:
    for patient in patients(calculator, 50):
        answer = reference_answer(calculator, patient)
        if isinstance(answer, IntegerAnswer):
            assert not grade(answer, answer.value + 1).correct
            continue
        if isinstance(answer, DateAnswer | IntervalAnswer):
            assert not grade(answer, round(calculator.formula(patient.values))).correct
            continue
        assert isinstance(answer, RealAnswer)
        assert answer.lower is not None
        assert answer.upper is not None
        margin = max(abs(answer.value) * calculator.tolerance, 1e-9)
        assert grade(answer, answer.value + 0.99 * margin).correct
        assert not grade(answer, answer.value - 1.01 * margin).correct
        assert calculator.tolerance == 0 or abs(answer.value) > 0.01


@ALL
def test_the_note_states_every_input_the_formula_needs(calculator: Calculator) -> None:
    for number, patient in enumerate(patients(calculator, 60)):
        phrasing = Phrasing(("prose", "terse", "question_first")[number % 3], number % 3, stated=number % 2 == 0)
        question = write_question(calculator, patient, phrasing, random.Random(number))
        note = question.replace(calculator.statement, "")
        for item in calculator.inputs:
            check_stated(item, patient, note)
        if "age" in calculator.uses:
            assert re.search(rf"\b{patient.age}(-year-old|F|M)\b", note)
        if "female" in calculator.uses:
            words = r"\b(woman|girl|\d+F)\b" if patient.female else r"\b(man|boy|\d+M)\b"
            assert re.search(words, note)


def check_stated(item: Quantity | Finding | Grading | Day, patient: Patient, note: str) -> None:
    text = patient.stated[item.name]
    match item:
        case Quantity(name="sbp" | "dbp"):
            assert re.search(rf"(\b|/){text}(/\d+)? ?mmHg|BP {text}/", note)
        case Quantity():
            unit = patient.converted[item.name].name if item.name in patient.converted else item.unit
            labels = "|".join(map(re.escape, item.labels))
            assert re.search(rf"({labels}) {re.escape(text)}( ?{re.escape(unit)})?(,|;|\.|$)", note), note
        case Finding():
            without_denial = note.replace(item.absent, "")
            assert any(phrase in without_denial for phrase in item.present) == (text == "1"), note
        case Day():
            assert f"{item.label} {text}" in note
        case Grading():
            assert dict((f"{points:g}", phrase) for points, phrase in item.grades)[text] in note


@ALL
def test_distractors_never_name_an_input(calculator: Calculator) -> None:
    for number, patient in enumerate(patients(calculator, 40)):
        question = write_question(calculator, patient, Phrasing("terse", 0, stated=False), random.Random(number))
        facts = [part.strip() for part in question.split(". Compute")[0].split(";")]
        for item in calculator.inputs:
            if isinstance(item, Quantity) and item.name not in {"sbp", "dbp"}:
                assert sum(fact.startswith(f"{item.labels[-1]} ") for fact in facts) == 1


@pytest.mark.parametrize(
    ("unit", "stated", "base"),
    [
        (CREATININE.units[0], "106", 1.19910),
        (GLUCOSE.units[0], "5.5", 99.0),
        (BILIRUBIN.units[0], "34", 1.98830),
        (TEMPERATURE.units[0], "100.4", 38.0),
        (WEIGHT.units[0], "154", 69.8539),
    ],
)
def test_unit_conversions(unit: Unit, stated: str, base: float) -> None:
    assert unit.to_base(stated) == pytest.approx(base, rel=1e-5)
    assert run(f"answer = {unit.expression(stated)}") == pytest.approx(base, rel=1e-5)
    assert unit.stated(base) == stated


def test_an_input_in_another_unit_changes_note_program_and_truth_together() -> None:
    calculator = CALCULATORS["cockcroft_gault"]
    unit = CREATININE.units[0]
    patient = Patient(
        age=60,
        female=True,
        stated={"weight": "72", "creatinine": "177"},
        converted={"creatinine": unit},
        values={"weight": 72.0, "creatinine": 177 / 88.4, "age": 60.0, "female": 1.0},
    )
    assert program(calculator, patient) == "answer = (140 - 60) * 72 / (72 * (177 / 88.4)) * 0.85"
    task = make_task(calculator, patient, "train", random.Random(0))
    assert "177 umol/L" in task.question
    assert task.category == "renal, units"
    assert grade(task.reference.answer, 68 / (177 / 88.4)).correct
    assert not grade(task.reference.answer, 68 / 177).correct


@given(st.sampled_from([c for c in CALCULATORS.values()]), st.integers(0, 10**6))
def test_a_converted_number_stays_near_what_was_drawn(calculator: Calculator, seed: int) -> None:
    patient = draw_patient(calculator, random.Random(seed))
    for item in calculator.inputs:
        if isinstance(item, Quantity):
            slack = 0.06 * item.high if item.name in patient.converted else 1e-9
            assert item.low - slack <= patient.values[item.name] <= item.high + slack


def take(split: str, limit: int, seed: int) -> list[Task]:
    return list(SOURCE.tasks(split, limit=limit, seed=seed))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_splits_never_share_an_instance_whatever_the_seeds(a: int, b: int, c: int) -> None:
    train, valid, test = (
        {task.metadata["instance"] for task in take(split, limit, seed)}
        for split, limit, seed in (("train", 400, a), ("valid", 120, b), ("test_seen", 120, c))
    )
    assert not train & valid
    assert not train & test
    assert not valid & test
    assert {split_of(key) for key in train} == {"train"}


def test_streams_are_deterministic_prefixes_without_repeats() -> None:
    for split in SOURCE.splits:
        assert split.removesuffix("_all") in STREAMS
        tasks = take(split, 200, 7)
        assert tasks == take(split, 200, 7)
        assert tasks[:30] == take(split, 30, 7)
        assert tasks[:30] != take(split, 30, 8)
        assert len({task.id for task in tasks}) == 200
        assert len({task.metadata["instance"] for task in tasks}) == 200


def test_default_sizes_and_balance() -> None:
    tasks = list(SOURCE.tasks("test_seen"))
    assert len(tasks) == 400
    counts = {name: sum(t.metadata["calculator"] == name for t in tasks) for name in (c.name for c in TRAINED)}
    assert max(counts.values()) <= 12
    assert min(counts.values()) >= 8


def test_held_out_calculators_are_asked_in_test_unseen_only_with_their_formula() -> None:
    unseen = take("test_unseen", 120, 0)
    assert {task.metadata["calculator"] for task in unseen} == {c.name for c in HELD_OUT}
    assert all(f"Formula: {CALCULATORS[t.metadata['calculator']].statement}." in t.question for t in unseen)
    for split in ("train", "valid", "test_seen"):
        assert not {t.metadata["calculator"] for t in take(split, 120, 0)} & {c.name for c in HELD_OUT}


def test_the_second_edition_leaves_the_first_ones_streams_alone() -> None:
    """Digests of the streams as they were before the second edition; the frozen suite was cut from them."""
    digests = {
        split: hashlib.sha256("".join(t.id + t.question for t in SOURCE.tasks(split)).encode()).hexdigest()[:16]
        for split in ("train", "valid", "test_seen", "test_unseen")
    }
    assert digests == STREAMS


def test_all_splits_ask_both_editions_and_share_no_instance_with_the_first() -> None:
    assert len(FIRST) == 44
    assert len(CALCULATORS) == len(FIRST) + len(SECOND) == 67
    assert {t.metadata["calculator"] for t in take("train_all", 200, 0)} == {c.name for c in ALL_TRAINED}
    assert {t.metadata["calculator"] for t in take("test_unseen_all", 60, 0)} == {c.name for c in ALL_HELD_OUT}
    assert set(HELD_OUT) < set(ALL_HELD_OUT)
    seen = {t.metadata["instance"] for t in take("test_seen_all", 600, 3)}
    assert not seen & {t.metadata["instance"] for t in [*take("train", 4000, 0), *take("train_all", 2000, 0)]}


def test_a_share_of_trained_questions_states_the_formula_and_some_convert_units() -> None:
    tasks = take("train", 1500, 0)
    assert 0.35 < sum(t.metadata["formula_stated"] for t in tasks) / 1500 < 0.45
    assert 0.05 < sum(t.category.endswith(", units") for t in tasks) / 1500 < 0.2
    assert len({t.template for t in tasks}) > 400


def test_notes_are_compact() -> None:
    lengths = sorted(len(task.question) for task in take("train", 1000, 0))
    assert statistics.median(lengths) < 190
    assert lengths[900] < 300


def test_used_up_calculators_drop_out_instead_of_repeating() -> None:
    tasks = list(itertools.islice(SOURCE.tasks("valid", limit=3000), 3000))
    assert len({task.metadata["instance"] for task in tasks}) == len(tasks) == 3000


def test_source_contract() -> None:
    source = get_source("clinical_calc")
    task = next(source.tasks("train"))
    assert source is SOURCE
    assert source.files(task) == {}
    assert task.public().keys() == {"id", "source", "question", "context", "permitted"}
    assert [type(action) for action in source.demonstration(task)] == [ExecuteCode, Submit]
    assert isinstance(source.worked_example().steps[-1][0], Submit)
    with pytest.raises(DataError, match="test_unseen"):
        next(source.tasks("test_unsen"))


def test_the_worked_example_is_no_calculator_and_right() -> None:
    example = SOURCE.worked_example()
    code = example.steps[0][0]
    assert isinstance(code, ExecuteCode)
    assert run(code.code) == 12600
    assert "12600" in example.steps[0][1]
    assert not any("rate-pressure" in ask for c in CALCULATORS.values() for ask in c.asks)
