"""EHR-SeqSQL and EHRCon: chains cut from SQL, notes with planted errors, and the originals' layouts."""

import csv
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.data_use import is_closed
from copilot.envs.ehrsql.chains import asked, chain_of, subqueries
from copilot.envs.ehrsql.notes import note_of
from copilot.envs.sources import ehr_seqsql, ehrcon
from copilot.envs.sources.mimic_iii import NOW, TABLES
from copilot.envs.sqlite_files import open_readonly, run_trusted
from copilot.errors import DataError
from copilot.reward.answers import BooleanAnswer, IntegerAnswer, SetAnswer, StringAnswer

needs_data = pytest.mark.skipif(not os.environ.get("MED_COPILOT_DATA"), reason="MED_COPILOT_DATA is not set")

NESTED = (
    "select count(*) from labevents where labevents.itemid in ( select d_labitems.itemid from d_labitems where "
    "d_labitems.label = 'sodium' ) and labevents.hadm_id in ( select admissions.hadm_id from admissions where "
    "admissions.subject_id = 7 )"
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small MIMIC-III in EHRSQL's schema, in a folder that is named as the demo."""
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    monkeypatch.setenv("MED_COPILOT_HOME", str(tmp_path / "cache"))
    days = [f"2105-01-{day:02d} 08:00:00" for day in range(1, 21)]
    labs = ("sodium", "potassium", "glucose", "lactate")
    tables: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
        "patients": ("row_id,subject_id,gender,dob,dod", [(n, n, "f", "2040-01-01 00:00:00", "") for n in range(30)]),
        "admissions": (
            "row_id,subject_id,hadm_id,admittime,dischtime,marital_status",
            [(n, n, 100 + n, days[0], days[-1], "widowed") for n in range(30)],
        ),
        "d_labitems": ("row_id,itemid,label", [(n, 500 + n, lab) for n, lab in enumerate(labs)]),
        "labevents": (
            "row_id,subject_id,hadm_id,itemid,charttime,valuenum,valueuom",
            [
                (n * 40 + k, n, 100 + n, 500 + k % 4, days[k % 20], 100 + n + k, "u")
                for n in range(30)
                for k in range(9)
            ],
        ),
        "prescriptions": (
            "row_id,subject_id,hadm_id,startdate,drug,dose_val_rx,dose_unit_rx,route",
            [(n * 3 + k, n, 100 + n, days[k], f"drug {k}", 5 + k, "mg", "po") for n in range(30) for k in range(3)],
        ),
        "d_items": ("row_id,itemid,label,linksto", [(1, 211, "heart rate", "chartevents")]),
        "chartevents": (
            "row_id,subject_id,hadm_id,itemid,charttime,valuenum,valueuom",
            [(n, n, 100 + n, 211, days[n % 20], 60 + n, "bpm") for n in range(30)],
        ),
        "icustays": ("row_id,hadm_id,first_careunit", [(1, 101, "micu")]),
    }
    folder = tmp_path / "ehrsql_questions" / "mimic_iii_demo_db_csv"
    folder.mkdir(parents=True)
    for table in TABLES:
        header, rows = tables.get(table, ("row_id,subject_id", []))
        with open(folder / f"{table}.csv", "w", newline="") as file:
            csv.writer(file).writerows([header.split(","), *rows])
    questions = [
        {
            "id": f"q{n}",
            "question": f"How many sodium tests did patient {n} have{mark}",
            "query": NESTED.replace("= 7", f"= {n}"),
            "value": {"patient_id": n, "lab_name": "sodium"},
            "q_tag": f"count tests{mark}",
        }
        for n, mark in ((1, "?"), (2, " so far?"), (3, ", all told?"), (4, " in all?"), (5, ", in sum?"))
    ]
    (tmp_path / "ehrsql_questions" / "mimic_iii_valid.json").write_text(json.dumps(questions))
    return tmp_path


def test_a_chain_asks_first_what_the_query_looks_up_first() -> None:
    turns = chain_of("How many?", NESTED)
    assert [turn.question for turn in turns] == [
        "Which item ids does the laboratory test sodium have?",
        "Which hospital admissions (hadm_id) does patient 7 have?",
        "How many?",
    ]
    assert asked(turns, 0) == turns[0].question
    assert asked(turns, 1).endswith(f"Turn 2: {turns[1].question}\nAnswer turn 2.")
    assert len(chain_of("Who?", "select 1 from t where a in ( select b from c )")) == 1
    assert list(subqueries("select ( select a from ( select b ) ) - ( x )")) == [
        "select b",
        "select a from ( select b )",
    ]


def test_chains_become_tasks_and_templates_stay_on_their_side(data: Path) -> None:
    tasks = {split: list(ehr_seqsql.SOURCE.tasks(split)) for split in ("train_form", "test_form")}
    every = [task for found in tasks.values() for task in found]
    assert len({task.question for task in every}) == len(every)
    assert not {t.template for t in tasks["train_form"]} & {t.template for t in tasks["test_form"]}
    last = [task for task in every if task.category == "turn 3"]
    assert last
    assert all(isinstance(task.reference.answer, IntegerAnswer) for task in last)
    with open_readonly(ehr_seqsql.SOURCE.files(every[0])["ehr.db"]) as con:
        for task in last:
            assert run_trusted(con, task.metadata["sql"], now=NOW) == [(task.reference.answer.value,)]  # type: ignore[union-attr]
    assert set(ehr_seqsql.SOURCE.look_alike) == set(tasks)
    with pytest.raises(DataError, match="no test questions"):
        next(ehr_seqsql.SOURCE.tasks("test"))


def test_the_original_of_ehr_seqsql_is_read_turn_by_turn(data: Path) -> None:
    item = {
        "id": "s1",
        "seed_question": "What is the gender of patient 9999?",
        "value": {"patient_id": 9999},
        "question": ["Who is patient 9999?", "Which gender?"],
        "question_template": ["who", "gender"],
        "seqsql": ["...", "..."],
        "sql": [
            "select patients.subject_id from patients where patients.subject_id = 9999",
            "select patients.gender from patients where patients.subject_id = 9999",
        ],
        "random_split": "test",
        "compositional_split": "train",
    }
    (data / "EHR-SeqSQL").mkdir()
    items = [item, {**item, "id": "s2", "random_split": "train"}, {"id": "broken"}, {**item, "sql": ["only one"]}]
    (data / "EHR-SeqSQL" / "data.json").write_text(json.dumps(items))
    first, second = ehr_seqsql.SOURCE.tasks("test")
    assert first.id == "ehr_seqsql/test/s1-1"
    assert isinstance(first.reference.answer, IntegerAnswer)
    assert second.reference.answer == StringAnswer(value="f")
    assert second.question.startswith("Goal: What is the gender of patient ")
    assert "9999" not in second.question
    assert ehr_seqsql.SOURCE.dropped("test") == {"malformed item": 2}
    assert len(list(ehr_seqsql.SOURCE.tasks("train"))) == 2


def test_notes_say_wrong_exactly_what_was_made_wrong(data: Path) -> None:
    task = next(ehrcon.SOURCE.tasks("train_form"))
    with open_readonly(ehrcon.SOURCE.files(task)["ehr.db"]) as con:
        note = note_of(con, 105, 5)
        assert note == note_of(con, 105, 5)
        assert {statement.wrong for statement in note.statements} == {True, False}
        for statement in note.statements:
            assert statement.text in note.text
            fact = statement.fact
            rows = con.execute(ehrcon._query(note, fact)).fetchall()
            assert statement.wrong is all(abs(float(row[0]) - fact.value) > 1e-9 for row in rows)


def test_questions_about_notes_are_balanced_and_split_by_patient(data: Path) -> None:
    tasks = {split: list(ehrcon.SOURCE.tasks(split)) for split in ("train_form", "test_form")}
    stays = {split: {task.metadata["hadm_id"] for task in found} for split, found in tasks.items()}
    assert stays["train_form"]
    assert stays["test_form"]
    assert not stays["train_form"] & stays["test_form"]
    every = [task for found in tasks.values() for task in found]
    truths = [task.reference.answer.value for task in every if isinstance(task.reference.answer, BooleanAnswer)]
    assert 0.35 < sum(truths) / len(truths) < 0.65
    assert any(isinstance(task.reference.answer, SetAnswer) for task in every)
    with open(ehrcon.SOURCE.files(every[0])["clinical_notes.csv"], newline="") as file:
        assert {int(row["HADM_ID"]) for row in csv.DictReader(file)} == {n + 100 for n in range(30)}


def test_the_original_of_ehrcon_is_credentialed_and_its_broken_lines_are_counted(data: Path) -> None:
    assert not ehrcon.SOURCE.credentialed
    root = data / "ehrcon"
    root.mkdir()
    assert ehrcon.SOURCE.credentialed
    with pytest.raises(DataError, match=r"lacks EHRCon_combined\.db, clinical_notes\.csv"):
        next(ehrcon.SOURCE.tasks("test"))
    with closing(sqlite3.connect(root / "EHRCon_combined.db")) as con:
        con.execute("CREATE TABLE patients (subject_id INT)")
        con.commit()
    (root / "clinical_notes.csv").write_text("ROW_ID,SUBJECT_ID,HADM_ID,TEXT\n")
    lines = [
        json.dumps({"Hospital admission": 7, "Medical entity": "lactate", "Has error": True}),
        "not json",
        json.dumps({"Hospital admission": 7, "Medical entity": "lactate", "Has error": "maybe"}),
    ]
    (root / "test_tasks.jsonl").write_text("\n".join(lines))
    (task,) = ehrcon.SOURCE.tasks("test")
    assert task.reference.answer == BooleanAnswer(value=True)
    assert is_closed("ehrcon", task.id)
    assert set(ehrcon.SOURCE.files(task)) == {"ehr.db", "clinical_notes.csv"}
    assert ehrcon.SOURCE.dropped("test") == {"malformed item": 2}


@needs_data
@pytest.mark.data
@pytest.mark.slow
def test_forms_on_the_real_demo_have_enough_tasks() -> None:
    assert len(list(ehr_seqsql.SOURCE.tasks("test_form"))) >= 150
    assert len(list(ehrcon.SOURCE.tasks("test_form"))) >= 150
