"""EHRSQL's questions to MIMIC-III and eICU, and TREQS: original layouts, re-grounding, reasons of drops, the guard."""

import csv
import gzip
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.data_use import closed_sources, is_closed
from copilot.envs.ehrsql import eicu_tables
from copilot.envs.ehrsql.grounding import Grounded, Grounder, replaced, replaced_in_sql
from copilot.envs.ehrsql.sql import asks_yes_or_no, clean_sql, kind_of, masked
from copilot.envs.sources import eicu, mimic_iii, treqs
from copilot.envs.sources.base import Source, get_source
from copilot.envs.sqlite_files import open_readonly, run_trusted
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.answers import UNANSWERABLE, BooleanAnswer, IntegerAnswer, UnanswerableAnswer
from copilot.reward.graders import grade

needs_data = pytest.mark.skipif(not os.environ.get("MED_COPILOT_DATA"), reason="MED_COPILOT_DATA is not set")

PATIENTS = [(n, 10006 + n, "fm"[n % 2], "2040-01-01 00:00:00", None) for n in range(30)]
DRUGS = ("aspirin", "heparin", "insulin")
QUESTIONS: list[dict[str, Any]] = [
    {
        "id": "q1",
        "question": "What is the gender of patient 99999?",
        "query": "select patients.gender from patients where patients.subject_id = 99999",
        "value": {"patient_id": 99999},
        "q_tag": "what is the gender of patient {patient_id}?",
    },
    {
        "id": "q2",
        "question": "Has patient 99999 been given Zofran?",
        "query": "select count(*)>0 from prescriptions where prescriptions.subject_id = 99999 "
        "and prescriptions.drug = 'zofran'",
        "value": {"patient_id": 99999, "drug_name": "zofran"},
        "q_tag": "has patient {patient_id} been given {drug_name}?",
    },
    {
        "id": "q3",
        "question": "How many patients were born since 2039?",
        "query": "select count(*) from patients where strftime('%y',patients.dob) >= '2039'",
        "value": {},
        "q_tag": "count the patients born [time]",
    },
    {"id": "q4", "question": "What is the phone number of patient 99999?", "query": "null", "is_impossible": True},
    {
        "id": "q5",
        "question": "When did patient 99999 die?",
        "query": "select patients.dod from patients where patients.subject_id = 99999",
        "value": {"patient_id": 99999},
        "q_tag": "when did patient {patient_id} die?",
    },
    {
        "id": "q6",
        "question": "Who is any patient?",
        "query": "select patients.subject_id from patients limit 1",
        "value": {},
        "q_tag": "any",
    },
    {"id": "q7", "question": "no query"},
]


@pytest.fixture(autouse=True)
def fresh_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Made-up data lives and is cached in the test's folder; real data stays where it is."""
    if "data" not in request.keywords:
        monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
        monkeypatch.setenv("MED_COPILOT_HOME", str(tmp_path / "cache"))


def write_csv(path: Path, header: str, rows: list[tuple[Any, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


def write_mimic(folder: Path, patients: list[tuple[Any, ...]] = PATIENTS, leave_out: tuple[str, ...] = ()) -> None:
    tables: dict[str, tuple[str, list[tuple[Any, ...]]]] = dict.fromkeys(mimic_iii.TABLES, ("ROW_ID,SUBJECT_ID", []))
    tables["patients"] = ("ROW_ID,SUBJECT_ID,GENDER,DOB,DOD", patients)
    drugs = [(n, p[1], DRUGS[n % 3], "po") for n, p in enumerate(patients)]
    tables["prescriptions"] = ("ROW_ID,SUBJECT_ID,DRUG,ROUTE", drugs)
    tables["icustays"] = ("ROW_ID,HADM_ID,FIRST_CAREUNIT", [(1, 2, "micu")])
    tables["admissions"] = ("ROW_ID,HADM_ID,MARITAL_STATUS", [(1, 2, "widowed")])
    for table, (header, rows) in tables.items():
        if table not in leave_out:
            write_csv(folder / f"{table.upper()}.csv.gz", header, rows)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The layout of the re-made demo folder."""
    root = tmp_path / "ehrsql_questions"
    write_mimic(root / "mimic_iii_demo_db_csv")
    write_json(root / "mimic_iii_valid.json", QUESTIONS)
    return root


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A clone of upstream whose scripts have made the database."""
    root = tmp_path / "EHRSQL"
    write_json(root / "dataset/ehrsql/mimic_iii/valid.json", QUESTIONS)
    with closing(sqlite3.connect(root / "dataset/ehrsql/mimic_iii/mimic_iii.sqlite")) as con:
        con.execute("CREATE TABLE patients (row_id INT, subject_id INT, gender TEXT, dob TEXT, dod TEXT)")
        con.executemany("INSERT INTO patients VALUES (?, ?, ?, ?, ?)", PATIENTS)
        con.execute("CREATE TABLE prescriptions (row_id INT, subject_id INT, drug TEXT, route TEXT)")
        rows = [(n, p[1], DRUGS[n % 3], "po") for n, p in enumerate(PATIENTS)]
        con.executemany("INSERT INTO prescriptions VALUES (?, ?, ?, ?)", rows)
        con.commit()
    return root


def reproduced(source: Source, tasks: list[Task]) -> tuple[int, int]:
    answerable = [task for task in tasks if not isinstance(task.reference.answer, UnanswerableAnswer)]
    right = 0
    with open_readonly(source.files(tasks[0])["ehr.db"]) as con:
        for task in answerable:
            rows = [list(row) for row in run_trusted(con, task.metadata["sql"], now=source.now)]  # type: ignore[attr-defined]
            if len(rows) == 1 and len(rows[0]) == 1:
                value: Any = rows[0][0]
            else:
                value = [row[0] for row in rows] if len(rows[0]) == 1 else rows
            right += grade(task.reference.answer, value).correct
    return right, len(answerable)


@pytest.mark.parametrize("layout", ["demo", "upstream"])
def test_questions_get_values_of_the_database_and_drops_have_reasons(
    layout: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(layout)
    tasks = {task.metadata["upstream_id"]: task for task in mimic_iii.SOURCE.tasks("valid")}
    assert list(tasks) == ["q1", "q2", "q3", "q4"]
    patient = tasks["q1"].metadata["values"]["patient_id"]
    assert patient in {p[1] for p in PATIENTS}
    assert tasks["q1"].question == f"What is the gender of patient {patient}?"
    assert f"subject_id = {patient}" in tasks["q1"].reference.program
    drug = tasks["q2"].metadata["values"]["drug_name"]
    assert drug in tasks["q2"].question
    assert isinstance(tasks["q2"].reference.answer, BooleanAnswer)
    assert tasks["q3"].reference.answer == IntegerAnswer(value=30)
    assert "99999" not in tasks["q4"].question
    assert grade(tasks["q4"].reference.answer, UNANSWERABLE).correct
    assert mimic_iii.SOURCE.dropped("valid") == {
        "null in the answer": 1,
        "ties decide the answer": 1,
        "malformed item": 1,
    }
    assert reproduced(mimic_iii.SOURCE, list(tasks.values())) == (3, 3)


def test_the_same_data_gives_the_same_tasks_from_the_cache_and_from_a_prefix(demo: Path) -> None:
    first = list(mimic_iii.SOURCE.tasks("valid", limit=2))
    whole = list(mimic_iii.SOURCE.tasks("valid"))
    again = list(mimic_iii.SOURCE.tasks("valid"))
    assert whole == again
    assert first == whole[:2]
    kept = next((demo.parent / "cache").rglob("questions-*.jsonl"))
    assert kept.stat().st_mode & 0o077 == 0


def test_open_and_credentialed_databases_are_told_apart(demo: Path, upstream: Path) -> None:
    assert not mimic_iii.SOURCE.credentialed
    open_ids = [task.id for task in mimic_iii.SOURCE.tasks("valid")]
    demo.rename(demo.with_name("elsewhere"))
    assert mimic_iii.SOURCE.credentialed
    closed_ids = [task.id for task in mimic_iii.SOURCE.tasks("valid")]
    assert closed_ids[0] == "mimic_iii/valid/dua-q1"
    demo.with_name("elsewhere").rename(demo)
    assert closed_sources(("mimic_iii", task_id) for task_id in open_ids) == []
    assert closed_sources(("mimic_iii", task_id) for task_id in closed_ids) == ["mimic_iii"]
    assert is_closed("somewhere", "somewhere/train/1"), "nobody knows that source here"


def test_a_database_larger_than_the_demo_is_credentialed_whatever_its_folder_is_called(tmp_path: Path) -> None:
    many = [(n, n, "f", "2040-01-01 00:00:00", None) for n in range(mimic_iii.DEMO_PATIENTS + 1)]
    write_mimic(tmp_path / "ehrsql_questions" / "mimic_iii_demo_db_csv", many)
    write_json(tmp_path / "ehrsql_questions" / "mimic_iii_valid.json", QUESTIONS)
    assert mimic_iii.SOURCE.credentialed


def test_without_data_a_source_counts_as_credentialed_and_says_what_is_missing(tmp_path: Path) -> None:
    assert mimic_iii.SOURCE.credentialed
    with pytest.raises(DataError, match="no folder with mimic_iii's data"):
        next(mimic_iii.SOURCE.tasks("valid"))
    write_mimic(tmp_path / "ehrsql_questions" / "mimic_iii_demo_db_csv", leave_out=("cost", "transfers"))
    with pytest.raises(DataError, match="no questions in the folder"):
        next(mimic_iii.SOURCE.tasks("valid"))
    write_json(tmp_path / "ehrsql_questions" / "mimic_iii_valid.json", QUESTIONS)
    with pytest.raises(DataError, match=r"lacks 2 of 17 tables: cost\.csv\.gz, transfers\.csv\.gz"):
        next(mimic_iii.SOURCE.tasks("valid"))


def test_worked_example_runs_on_the_database(demo: Path) -> None:
    assert mimic_iii.SOURCE.worked_example().steps[0][1] == "answer = 1"


EICU_HEADER = (
    "patientunitstayid,patienthealthsystemstayid,gender,age,ethnicity,hospitalid,wardid,admissionheight,"
    "hospitaladmittime24,hospitaladmitoffset,hospitaladmitsource,hospitaldischargeyear,hospitaldischargeoffset,"
    "hospitaldischargestatus,admissionweight,dischargeweight,unitdischargeoffset,uniquepid"
)


def eicu_stay(n: int, **changes: Any) -> tuple[Any, ...]:
    stay = {
        "stay": 1000 + n, "visit": 500 + n, "gender": "Female", "age": "60", "ethnicity": "Asian", "hospital": 5,
        "ward": 91, "height": 160, "clock": "10:00:00", "offset": -60, "source": "Floor", "year": 2014, "left": 2880,
        "status": "Alive", "weight": 70, "dweight": 71, "unit_left": 1440, "patient": f"002-{n:04d}",
    } | changes  # fmt: skip
    return tuple(stay.values())


def write_eicu(folder: Path, stays: list[tuple[Any, ...]]) -> None:
    write_csv(folder / "patient.csv.gz", EICU_HEADER, stays)
    ids = [stay[0] for stay in stays]
    events: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
        "diagnosis": (
            "diagnosisid,patientunitstayid,diagnosisoffset,diagnosisstring,icd9code",
            [(n, i, 30, "renal|disorder|acute renal failure|due to sepsis", "584.9") for n, i in enumerate(ids)],
        ),
        "treatment": ("treatmentid,patientunitstayid,treatmentoffset,treatmentstring", []),
        "medication": (
            "medicationid,patientunitstayid,drugstartoffset,drugstopoffset,drugordercancelled,drugname,dosage,routeadmin",
            [(n, i, 90, 120, "Yes" if n == 0 else "No", "Heparin", "5 3", "IV") for n, i in enumerate(ids)],
        ),
        "allergy": ("allergyid,patientunitstayid,allergyoffset,allergyname,drugname", []),
        "intakeoutput": ("i,patientunitstayid,intakeoutputoffset,celllabel,cellpath,cellvaluenumeric", []),
        "microlab": ("microlabid,patientunitstayid,culturetakenoffset,culturesite,organism", []),
    }
    for table, (header, rows) in events.items():
        write_csv(folder / f"{table}.csv.gz", header, rows)


def test_eicus_own_files_become_ehrsqls_schema(tmp_path: Path) -> None:
    unsound = [eicu_stay(90, gender=""), eicu_stay(91, age="> 89"), eicu_stay(92, left=50 * 1440)]
    write_eicu(tmp_path / "eicu-crd-demo", [eicu_stay(n) for n in range(40)] + unsound)
    files = {name: tmp_path / "eicu-crd-demo" / f"{name}.csv.gz" for name in eicu_tables.REQUIRED}
    with closing(sqlite3.connect(":memory:")) as con:
        eicu_tables.fill(con, files=files)
        assert con.execute("SELECT count(*) FROM patient").fetchone() == (40,)
        assert con.execute("SELECT DISTINCT diagnosisname FROM diagnosis").fetchall() == [
            ("acute renal failure - due to sepsis",)
        ]
        stays = con.execute(
            "SELECT hospitaladmittime, unitadmittime, unitdischargetime, hospitaldischargetime, dischargeweight, "
            "hospitaldischargestatus FROM patient"
        ).fetchall()
        away = [row for row in stays if row[3] is not None]
        here = [row for row in stays if row[3] is None]
        assert away
        assert all(row[0] < row[1] < row[2] < row[3] <= eicu_tables.NOW for row in away)
        assert all(row[4] is None and row[5] is None for row in here)
        drugs = con.execute("SELECT count(*) FROM medication").fetchone()[0]
        assert drugs <= 39, "a cancelled order was never given"
        assert con.execute("SELECT count(*) FROM cost WHERE eventtype = 'medication'").fetchone()[0] == drugs
        with closing(sqlite3.connect(":memory:")) as again:
            eicu_tables.fill(again, files=files)
            assert list(con.iterdump()) == list(again.iterdump())


def test_eicu_questions_that_need_absent_tables_are_dropped(tmp_path: Path) -> None:
    write_eicu(tmp_path / "eicu-crd-demo", [eicu_stay(n) for n in range(20)])
    questions = [
        {
            "id": "a",
            "question": "How many patients had acute renal failure - due to sepsis?",
            "query": "select count( distinct patient.uniquepid ) from patient where patient.patientunitstayid in ( "
            "select diagnosis.patientunitstayid from diagnosis where diagnosis.diagnosisname = 'acute renal failure - "
            "due to sepsis' )",
            "value": {"diagnosis_name": "acute renal failure - due to sepsis"},
            "q_tag": "count the patients with {diagnosis_name}",
        },
        {"id": "b", "question": "When was a lab?", "query": "select lab.labresulttime from lab", "q_tag": "lab"},
    ]
    write_json(tmp_path / "ehrsql_questions" / "eicu_valid.json", questions)
    (task,) = eicu.SOURCE.tasks("valid")
    assert isinstance(task.reference.answer, IntegerAnswer)
    assert eicu.SOURCE.dropped("valid") == {"needs the table lab": 1}
    assert not eicu.SOURCE.credentialed
    (tmp_path / "eicu-crd-demo").rename(tmp_path / "eicu-crd")
    assert eicu.SOURCE.credentialed


def test_treqs_answers_are_recomputed_and_broken_lines_are_counted(tmp_path: Path) -> None:
    root = tmp_path / "treqs_mimicsql"
    for table in treqs.TABLES:
        write_csv(root / "demo_db_csv" / f"{table.upper()}.csv", "SUBJECT_ID,HADM_ID", [])
    people = [(n, 100 + n, "MARRIED" if n % 2 else "WIDOWED", 40 + n) for n in range(10)]
    write_csv(root / "demo_db_csv" / "DEMOGRAPHIC.csv", "SUBJECT_ID,HADM_ID,MARITAL_STATUS,AGE", people)
    count = 'SELECT COUNT ( DISTINCT DEMOGRAPHIC."SUBJECT_ID" ) FROM DEMOGRAPHIC WHERE DEMOGRAPHIC.'
    lines = [
        json.dumps(
            {"key": "a", "question_refine": "how many are married?", "sql": count + '"MARITAL_STATUS" = "MARRIED"'}
        ),
        json.dumps({"key": "b", "question_refine": "who is single?", "sql": count + '"MARITAL_STATUS" = "SINGLE"'}),
        "{broken",
        json.dumps({"key": "c", "question_refine": "how many are under 45?", "sql": count + '"AGE" < "45"'}),
        json.dumps({"key": "d"}),
    ]
    (root / "mimicsql_natural_v2_dev.json").write_text("\n".join(lines))
    tasks = list(treqs.SOURCE.tasks("dev"))
    assert [task.reference.answer for task in tasks] == [IntegerAnswer(value=5), IntegerAnswer(value=5)]
    assert treqs.SOURCE.dropped("dev") == {"a count of nothing": 1, "malformed item": 2}
    assert not treqs.SOURCE.credentialed


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("", "unanswerable"),
        ("select count(*)>0 from admissions where admissions.subject_id = 1", "yes or no"),
        ("select ( select a from b ) < ( select c from d )", "yes or no"),
        ("select ( select a from b ) - ( select c from d )", "difference"),
        ("select count( distinct admissions.subject_id ) from admissions", "count"),
        ("select 24 * ( strftime('%j',current_time) - strftime('%j',x.t) ) from x", "time passed"),
        ("select avg(lab.v) from lab", "aggregate"),
        ("select patients.dob from patients", "lookup"),
    ],
)
def test_kinds_of_questions(sql: str, kind: str) -> None:
    assert kind_of(sql) == kind
    assert asks_yes_or_no(sql) is (kind == "yes or no")


def test_upstreams_date_formats_and_ranges_are_mended_and_literals_masked() -> None:
    sql = "select strftime('%y', t.c)  from t\n where t.v between temperature_lower and temperature_upper"
    assert clean_sql(sql) == "select strftime('%Y', t.c) from t where t.v between 35.5 and 38.1"
    assert (
        masked("select a1 from t where b = 'it''s' and c > 3.5 limit 1")
        == "select a1 from t where b = ? and c > ? limit ?"
    )


def test_values_are_replaced_as_whole_words_and_never_twice() -> None:
    old, new = {"drug_route": "po", "drug_name": "iron"}, {"drug_route": "iron", "drug_name": "po"}
    assert replaced("Report IRON via PO for patient 12?", old, new) == "Report po via iron for patient 12?"
    assert replaced("Report iron", old, new) is None
    sql = "select a from t where r = 'po' and d = 'iron' and s = 12"
    assert replaced_in_sql(sql, old, new) == "select a from t where r = 'iron' and d = 'po' and s = 12"
    assert replaced_in_sql("p = 12 and q = 120 and r = '12'", {"patient_id": 12}, {"patient_id": 7}) == (
        "p = 7 and q = 120 and r = '12'"
    )
    assert replaced("ward 50 and 500", {"ward_id": 50.0}, {"ward_id": 9}) == "ward 9 and 500"


def test_queries_that_run_forever_or_not_at_all_are_reasons(demo: Path) -> None:
    with open_readonly(mimic_iii.SOURCE.files(next(mimic_iii.SOURCE.tasks("valid")))["ehr.db"]) as con:
        grounder = Grounder(con, mimic_iii.VOCABULARY, mimic_iii.NOW)
        endless = "with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r"
        assert grounder.ground("x", "?", endless, {}) == "too slow a query"
        assert grounder.ground("x", "?", "select a from nowhere", {}) == "SQL fails: no such table: nowhere"
        assert isinstance(grounder.ground("x", "?", "select 7", {}), Grounded)


@needs_data
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "split", "answerable"), [("mimic_iii", "valid", 505), ("treqs", "dev", 350)])
def test_real_questions_are_kept_and_reproduced(name: str, split: str, answerable: int) -> None:
    source = get_source(name)
    tasks = list(source.tasks(split))
    right, asked = reproduced(source, tasks)
    assert asked >= answerable
    assert right == asked
    assert not source.credentialed
    assert len(tasks) + sum(source.dropped(split).values()) == {"mimic_iii": 1122, "treqs": 1000}[name]
