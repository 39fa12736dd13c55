"""MedCalc-Bench: types, limits and dates of a made-up file, and every row of the real one where it is."""

import csv
import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from copilot.envs.sources.medcalcbench import _COLUMNS, SOURCE, read_answer
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.answers import DateAnswer, IntegerAnswer, IntervalAnswer, RealAnswer
from copilot.reward.graders import grade

needs_data = pytest.mark.skipif(not os.environ.get("MED_COPILOT_DATA"), reason="MED_COPILOT_DATA is not set")


def row(number: int, kind: str, truth: str, low: str, high: str, *, note: str = "") -> dict[str, str]:
    values = dict.fromkeys(_COLUMNS, "x")
    values |= {"Row Number": str(number), "Output Type": kind, "Ground Truth Answer": truth}
    values |= {"Lower Limit": low, "Upper Limit": high, "Patient Note": note or f"Note {number}."}
    return values | {"Question": "What is it?", "Ground Truth Explanation": "First.\nThen 2 + 2."}


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    rows = [
        row(1, "integer", "8", "8", "8"),
        row(2, "decimal", "23.234", "22.072", "24.396"),
        row(3, "decimal", "6.946", "6.946", "6.946"),
        row(4, "decimal", "-3.0", "-2.85", "-3.15"),
        row(5, "date", "10/12/2023", "10/12/2023", "10/12/2023"),
        row(6, "date", "('29 weeks', '2 days')", "('29 weeks', '2 days')", "('29 weeks', '2 days')"),
        row(7, "decimal", "N/A", "1", "2"),
        row(8, "date", "02/30/2023", "", ""),
    ]
    write(tmp_path / "medcalc_bench" / "medcalc_v1_dev_no_test_notes.csv.gz", rows)
    return tmp_path


@pytest.mark.parametrize(
    ("number", "right", "wrong"),
    [
        (1, (8, 8.0, "8"), (7, 8.4, True, "8 points")),
        (2, (23.234, 23.01, 23.46), (22.99, 23.47, 24.396, -23, "about 23")),
        (3, (6.946, 6.9464, "6.946"), (6.947, 7, 6.94)),
        (4, (-3, -2.98, -3.02), (3, -2.9, -3.1, 0)),
        (5, ("10/12/2023", "2023-10-12"), ("12/10/2023", "2023-10-13", 10)),
        (6, ("29 weeks, 2 days", [29, 2], "205 days"), ("29 weeks", 29, "2 weeks, 29 days")),
    ],
)
def test_answers_are_graded_by_type_and_limits(
    made_up: Path, number: int, right: tuple[object, ...], wrong: tuple[object, ...]
) -> None:
    answer = list(SOURCE.tasks("dev"))[number - 1].reference.answer
    assert [value for value in right if not grade(answer, value).correct] == []
    assert [value for value in wrong if grade(answer, value).correct] == []


def test_note_question_and_worked_solution_are_in_their_places(made_up: Path) -> None:
    task = next(SOURCE.tasks("dev"))
    assert task.question == "Note 1.\n\nWhat is it?"
    assert task.reference.program == "# First.\n# Then 2 + 2.\nanswer = 8"
    assert "Then" not in str(task.public())
    assert SOURCE.dropped("dev") == {"truth or limits cannot be read": 2}
    assert len(list(SOURCE.tasks("dev", limit=3))) == 3


def test_notes_of_test_and_dev_are_not_in_train(made_up: Path) -> None:
    train = [row(1, "integer", "8", "8", "8", note=f"Note  {n}. ") for n in (1, 20, 21, 21)]
    write(made_up / "MedCalc-Bench" / "dataset" / "train_data.csv.gz", train)
    write(
        made_up / "MedCalc-Bench" / "dataset" / "test_data.csv.gz", [row(1, "integer", "8", "8", "8", note="Note 20.")]
    )
    assert [task.question.split("\n")[0] for task in SOURCE.tasks("train")] == ["Note  21."]
    assert SOURCE.dropped("train") == {"note is in another split": 2, "asked twice": 1}
    assert len(list(SOURCE.tasks("test"))) == 1


def test_missing_and_broken_files_are_clear(made_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"(?s)no MedCalc-Bench file for split 'test'.*test_data\.csv"):
        list(SOURCE.tasks("test"))
    (made_up / "medcalc_bench" / "test_data.csv").write_text("Question,Patient Note\na,b\n")
    with pytest.raises(DataError, match="columns are missing: Row Number"):
        list(SOURCE.tasks("test"))
    with pytest.raises(DataError, match="no split 'valid'"):
        list(SOURCE.tasks("valid"))
    monkeypatch.delenv("MED_COPILOT_DATA")
    with pytest.raises(DataError, match="MED_COPILOT_DATA is not set"):
        list(SOURCE.tasks("dev"))


def test_a_truth_outside_its_limits_is_no_reference() -> None:
    assert read_answer(row(1, "decimal", "5", "6", "7")) is None
    inside = read_answer(row(1, "integer", "5.5", "5", "6"))
    assert isinstance(inside, RealAnswer)
    assert (inside.lower, inside.upper) == (pytest.approx(5.395), pytest.approx(5.605))


@needs_data
@pytest.mark.data
def test_every_row_of_dev_is_kept_and_its_truth_is_right() -> None:
    tasks = list(SOURCE.tasks("dev"))
    assert len(tasks) + sum(SOURCE.dropped("dev").values()) == 942
    assert len(tasks) >= 0.98 * 942
    kinds = Counter(type(task.reference.answer) for task in tasks)
    assert kinds[DateAnswer] + kinds[IntervalAnswer] == 28
    assert kinds[IntervalAnswer] == 10
    assert kinds[IntegerAnswer] > 90
    assert len({task.template for task in tasks}) == 40
    assert all(grade(task.reference.answer, literal(task)).correct for task in tasks)
    assert sum(grade(task.reference.answer, 1).correct for task in tasks) < 0.05 * len(tasks)


def literal(task: Task) -> object:
    value = task.reference.program.rsplit("answer = ", 1)[1]
    return value.strip("'") if value.startswith("'") else float(value)
