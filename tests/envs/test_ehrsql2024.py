"""EHRSQL-2024: both layouts, hostile and broken files, and the gold answers its queries give."""

import gzip
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.sources import ehrsql2024
from copilot.envs.sources.ehrsql2024 import NOW, SOURCE, TABLES, clean_sql, parse_answer
from copilot.envs.sqlite_files import open_readonly, run_trusted
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.answers import UNANSWERABLE, RowsAnswer, UnanswerableAnswer
from copilot.reward.graders import grade

needs_data = pytest.mark.skipif(not os.environ.get("MED_COPILOT_DATA"), reason="MED_COPILOT_DATA is not set")

PATIENTS = [(n, 100 + n, "f" if n % 2 else "m", "2040-01-01 00:00:00", None) for n in range(120)]
QUESTIONS: list[tuple[str, str, str, str]] = [
    ("q1", "How many women?", " SELECT COUNT(*)  FROM patients WHERE gender = 'f' ", "[['60']]"),
    ("q2", "Whose phone is it?", "null", "null"),
    ("q3", "Who is there?", "SELECT subject_id FROM patients", str(sorted([str(p[1])] for p in PATIENTS)[:100])),
    ("q4", "What share?", "SELECT 3.0 / 16", "[['0.188']]"),
    ("q5", "What time is it?", "SELECT current_time", f"[['{NOW}']]"),
]


@pytest.fixture(autouse=True)
def fresh_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Made-up data lives and is cached in the test's folder; real data stays where it is."""
    ehrsql2024._database.cache_clear()
    if "data" not in request.keywords:
        monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
        monkeypatch.setenv("MED_COPILOT_HOME", str(tmp_path / "cache"))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_questions(root: Path, form: str, split: str) -> None:
    data = {"version": "x", "data": [{"id": key, "question": text} for key, text, _, _ in QUESTIONS]}
    parts = {"data": data, "label": {q[0]: q[2] for q in QUESTIONS}, "answer": {q[0]: q[3] for q in QUESTIONS}}
    for part, value in parts.items():
        write_json(root / form.format(split=split, part=part), value)


def write_csv(folder: Path, leave_out: tuple[str, ...] = ()) -> None:
    folder.mkdir(parents=True)
    for table in TABLES:
        if table not in leave_out:
            (folder / f"{table}.csv").write_text("row_id,subject_id,hadm_id\n0,100,7.0\n")
    if "patients" not in leave_out:
        lines = [
            "row_id,subject_id,gender,dob,dod",
            *(",".join("" if c is None else str(c) for c in p) for p in PATIENTS),
        ]
        with gzip.open(folder / "patients.csv.gz", "wt") as file:
            file.write("\n".join(lines))
        (folder / "patients.csv").unlink()


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The layout of the re-made demo folder: CSV tables, gzipped questions."""
    root = tmp_path / "ehrsql2024_mimic_iv_demo"
    write_csv(root / "db_csv")
    write_questions(root, "tasks_v1.0/{split}_{part}.json.gz", "train")
    return root


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A clone of upstream with its database."""
    root = tmp_path / "ehrsql-2024"
    for split in ("train", "test"):
        write_questions(root, "data/mimic_iv/{split}/{part}.json", split)
    with closing(sqlite3.connect(root / "data/mimic_iv/mimic_iv.sqlite")) as con:
        con.execute("CREATE TABLE patients (row_id INT, subject_id INT, gender TEXT, dob TEXT, dod TEXT)")
        con.executemany("INSERT INTO patients VALUES (?, ?, ?, ?, ?)", PATIENTS)
        con.commit()
    return root


def reproduced(tasks: list[Task]) -> tuple[int, int]:
    """How many gold queries give the gold answer, and how many there are."""
    answerable = [task for task in tasks if not isinstance(task.reference.answer, UnanswerableAnswer)]
    with open_readonly(SOURCE.files(tasks[0])["ehr.db"]) as con:
        rows = [[list(row) for row in run_trusted(con, task.metadata["sql"], now=NOW)] for task in answerable]
    pairs = zip(answerable, rows, strict=True)
    return sum(grade(task.reference.answer, found).correct for task, found in pairs), len(answerable)


@pytest.mark.parametrize("layout", ["demo", "upstream"])
def test_both_layouts_give_the_same_tasks(layout: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(layout)
    tasks = list(SOURCE.tasks("train"))
    assert [task.id for task in tasks] == [f"ehrsql2024/train/{q[0]}" for q in QUESTIONS]
    assert reproduced(tasks) == (4, 4)
    first, unanswerable = tasks[:2]
    assert first.reference.program == "answer = sql(\"SELECT COUNT(*) FROM patients WHERE gender = 'f'\")"
    assert unanswerable.reference.answer == UnanswerableAnswer()
    assert unanswerable.reference.program == ""
    assert "\npatients(subject_id, gender, dob, dod)" in first.context
    assert NOW in first.context
    assert [task.id for task in SOURCE.tasks("train", limit=2)] == [task.id for task in tasks[:2]]


def test_upstreams_cut_and_rounding_are_made_good(demo: Path) -> None:
    tasks = {task.id.rsplit("/", 1)[1]: task for task in SOURCE.tasks("train")}
    whole, share = tasks["q3"].reference.answer, tasks["q4"].reference.answer
    assert isinstance(whole, RowsAnswer)
    assert len(whole.rows) == 120
    assert [grade(share, value).correct for value in (0.1875, 0.188, 0.1886, 0.187)] == [True, True, False, False]


def test_csv_cells_get_their_types_and_the_file_is_built_once(demo: Path) -> None:
    path = SOURCE.files(next(SOURCE.tasks("train")))["ehr.db"]
    with open_readonly(path) as con:
        assert con.execute("SELECT typeof(subject_id), typeof(dod), count(*) FROM patients").fetchone() == (
            "integer",
            "null",
            120,
        )
        assert con.execute("SELECT hadm_id, typeof(hadm_id) FROM labevents").fetchone() == (7, "integer")
    built = path.stat().st_mtime_ns
    ehrsql2024._database.cache_clear()
    assert SOURCE.files(next(SOURCE.tasks("train")))["ehr.db"] == path
    assert path.stat().st_mtime_ns == built
    (demo / "db_csv" / "labevents.csv").write_text("row_id,subject_id,hadm_id\n0,100,8\n")
    ehrsql2024._database.cache_clear()
    assert SOURCE.files(next(SOURCE.tasks("train")))["ehr.db"] != path


def test_missing_tables_are_one_error_that_names_them(tmp_path: Path) -> None:
    root = tmp_path / "ehrsql2024_mimic_iv_demo"
    write_csv(root / "db_csv", leave_out=("cost", "d_items"))
    write_questions(root, "tasks_v1.0/{split}_{part}.json", "train")
    with pytest.raises(DataError) as caught:
        list(SOURCE.tasks("train"))
    message = str(caught.value)
    assert "lacks 2 of 17 tables: cost.csv.gz, d_items.csv.gz" in message
    assert str(root / "db_csv") in message
    assert "mimic_iv.sqlite" in message


def test_missing_folder_split_and_variable_are_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(DataError, match="no folder with ehrsql2024's data"):
        next(SOURCE.tasks("train"))
    monkeypatch.delenv("MED_COPILOT_DATA")
    with pytest.raises(DataError, match="MED_COPILOT_DATA is not set"):
        next(SOURCE.tasks("train"))
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    request.getfixturevalue("upstream")
    with pytest.raises(DataError, match=r"(?s)no valid questions here.*valid/label\.json"):
        next(SOURCE.tasks("valid"))
    with pytest.raises(DataError, match="no split 'test_seen'"):
        next(SOURCE.tasks("test_seen"))
    assert len(list(SOURCE.tasks("test"))) == len(QUESTIONS)


def test_broken_questions_name_the_file(demo: Path) -> None:
    label = demo / "tasks_v1.0" / "train_label.json.gz"
    whole = label.read_bytes()
    label.write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"(?s)not readable as JSON.*train_label\.json\.gz"):
        list(SOURCE.tasks("train"))
    label.write_bytes(b"not gzip at all")
    with pytest.raises(DataError, match="not readable as JSON"):
        list(SOURCE.tasks("train"))
    write_json(label, {"q1": "SELECT 1"})
    assert [task.id for task in SOURCE.tasks("train")] == ["ehrsql2024/train/q1"]
    assert SOURCE.dropped("train") == {"no SQL or answer": len(QUESTIONS) - 1}
    write_json(label, ["q1"])
    with pytest.raises(DataError, match="no questions in upstream's form"):
        list(SOURCE.tasks("train"))


@pytest.mark.parametrize("text", ["__import__('os').getpid()", "[[1]", "", "{}", "3", "['a']", "[[" * 500])
def test_gold_answers_are_read_and_never_run(text: str) -> None:
    with pytest.raises(DataError, match="no list of rows"):
        parse_answer(text, where="answers")


def test_gold_answers_of_any_width_are_rows() -> None:
    assert parse_answer("[['1', '2.5'], [None, 'x']]", where="") == (("1", "2.5"), (None, "x"))
    assert parse_answer("[]", where="") == ()


def test_names_of_normal_ranges_become_numbers() -> None:
    assert clean_sql(" SELECT 1 \n WHERE x BETWEEN temperature_lower AND temperature_upper ") == (
        "SELECT 1 WHERE x BETWEEN 35.5 AND 38.1"
    )


@needs_data
@pytest.mark.data
def test_gold_answers_of_valid_reproduce() -> None:
    tasks = list(SOURCE.tasks("valid"))
    assert len(tasks) == 1163
    assert reproduced(tasks) == (927, 931)
    asked_for_nothing = [task for task in tasks if task.category == "unanswerable"]
    assert len(asked_for_nothing) == 232
    assert all(grade(task.reference.answer, UNANSWERABLE).correct for task in asked_for_nothing)


@needs_data
@pytest.mark.data
@pytest.mark.slow
def test_gold_answers_of_train_reproduce() -> None:
    tasks = list(SOURCE.tasks("train"))
    assert len(tasks) == 5124
    assert reproduced(tasks) == (4657, 4674)


@needs_data
@pytest.mark.data
def test_worked_example_is_not_asked() -> None:
    example = SOURCE.worked_example()
    assert example.steps[0][1] == "answer = 1"
    assert all(task.question != example.question for split in ("train", "valid") for task in SOURCE.tasks(split))
