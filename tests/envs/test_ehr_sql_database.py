"""The generated hospital: same seed same rows, a frozen content, a consistent and plausible history."""

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from copilot.envs.sources.ehr_sql import generator, schema
from copilot.envs.sources.ehr_sql.codes import DIAGNOSES, PROCEDURES
from copilot.envs.sources.ehr_sql.items import DRUGS, INPUTS, LAB_SHIFTS, LABS, OUTPUTS, VITALS
from copilot.envs.sources.ehr_sql.source import database
from copilot.envs.sqlite_files import build_once, open_readonly, preamble, run_trusted

CONTENT_V1 = "26ad9871458a2b91aa91046833d93153bfc4269b8553411b02d4e41889739739"
"""Hash of the rows of seed 0. If it changes, raise GENERATOR_VERSION and cut the suites again."""


def content(con: sqlite3.Connection) -> str:
    digest = hashlib.sha256()
    for table in schema.TABLES:
        for row in con.execute(f"SELECT * FROM {table} ORDER BY row_id"):
            digest.update(repr(row).encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def hospital() -> Iterator[sqlite3.Connection]:
    with open_readonly(database()) as con:
        yield con


def scalar(con: sqlite3.Connection, sql: str) -> object:
    return con.execute(sql).fetchone()[0]


def test_seed_decides_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "PATIENTS", 12)
    contents = []
    for seed in (5, 5, 6):
        with closing(sqlite3.connect(":memory:")) as con:
            generator.fill(con, seed=seed)
            contents.append(content(con))
    assert contents[0] == contents[1] != contents[2]


def test_content_of_this_version_is_frozen(hospital: sqlite3.Connection) -> None:
    assert generator.GENERATOR_VERSION == 1
    assert content(hospital) == CONTENT_V1


def test_rows_belong_together(hospital: sqlite3.Connection) -> None:
    for table in schema.TABLES:
        columns = schema.columns(table)
        assert scalar(hospital, f"SELECT count(*) FROM {table}") > 0, table
        if table not in ("patients", "admissions") and "hadm_id" in columns:
            orphans = f"SELECT count(*) FROM {table} LEFT JOIN admissions USING(hadm_id) WHERE admittime IS NULL"
            assert scalar(hospital, orphans) == 0, table
            mixed = f"SELECT count(*) FROM {table} t JOIN admissions a USING(hadm_id) WHERE t.subject_id<>a.subject_id"
            assert scalar(hospital, mixed) == 0, table
    for table, names in (("diagnoses_icd", "d_icd_diagnoses"), ("procedures_icd", "d_icd_procedures")):
        unnamed = f"SELECT count(*) FROM {table} LEFT JOIN {names} USING(icd9_code) WHERE short_title IS NULL"
        assert scalar(hospital, unnamed) == 0
    for table in ("chartevents", "inputevents_cv", "outputevents"):
        wrong = f"SELECT count(*) FROM {table} LEFT JOIN d_items USING(itemid) WHERE linksto IS NOT '{table}'"
        assert scalar(hospital, wrong) == 0
    unpriced = (
        "SELECT count(*) FROM prescriptions WHERE row_id NOT IN "
        "(SELECT event_id FROM cost WHERE event_type='prescriptions')"
    )
    assert scalar(hospital, unpriced) == 0


def test_time_runs_forward_and_stops_now(hospital: sqlite3.Connection) -> None:
    assert scalar(hospital, "SELECT count(*) FROM admissions WHERE dischtime<=admittime") == 0
    assert scalar(hospital, "SELECT count(*) FROM icustays WHERE outtime<=intime") == 0
    assert scalar(hospital, "SELECT count(*) FROM admissions WHERE dischtime IS NULL") >= 10
    for table, column in (("labevents", "charttime"), ("chartevents", "charttime"), ("prescriptions", "startdate")):
        assert scalar(hospital, f"SELECT max({column}) FROM {table}") <= schema.NOW
        early = f"SELECT count(*) FROM {table} JOIN admissions USING(hadm_id) WHERE {column}<date(admittime)"
        late = f"SELECT count(*) FROM {table} JOIN admissions USING(hadm_id) WHERE {column}>dischtime"
        assert scalar(hospital, early) == scalar(hospital, late) == 0
    assert scalar(hospital, "SELECT count(*) FROM patients JOIN admissions USING(subject_id) WHERE admittime>dod") == 0
    overlap = (
        "SELECT count(*) FROM admissions a JOIN admissions b USING(subject_id) "
        "WHERE a.admittime<b.admittime AND coalesce(a.dischtime, '9')>b.admittime"
    )
    assert scalar(hospital, overlap) == 0
    died = "SELECT count(*) FROM admissions JOIN patients USING(subject_id) WHERE discharge_location='dead/expired'"
    assert scalar(hospital, died) == scalar(hospital, died + " AND date(dod)=date(dischtime)") > 0


def test_illness_shows_in_the_laboratory(hospital: sqlite3.Connection) -> None:
    mean = (
        "SELECT avg(valuenum) FROM labevents JOIN d_labitems USING(itemid) WHERE label='{}' AND hadm_id {} "
        "(SELECT hadm_id FROM diagnoses_icd JOIN d_icd_diagnoses USING(icd9_code) WHERE short_title IN ({}))"
    )
    for lab, titles, factor in (
        ("creatinine", "'acute kidney failure nos', 'end stage renal disease'", 1.3),
        ("troponin t", "'subendo infarct, initial', 'crnry athrscl natve vssl'", 1.5),
        ("bilirubin, total", "'alcohol cirrhosis liver', 'cirrhosis of liver nos'", 1.5),
        ("glucose", "'dmi ketoacd uncontrold', 'dmii renl nt st uncntrld'", 1.1),
    ):
        ill, others = (scalar(hospital, mean.format(lab, word, titles)) for word in ("IN", "NOT IN"))
        assert ill > factor * others, lab
    for lab in LABS:
        low, high = hospital.execute(
            "SELECT min(valuenum), max(valuenum) FROM labevents WHERE itemid=?", (lab.itemid,)
        ).fetchone()
        assert lab.low <= low < high <= lab.high


def test_dictionaries_are_sound() -> None:
    for codes in (DIAGNOSES, PROCEDURES):
        for column in ("code", "short_title", "long_title"):
            values = [getattr(code, column) for code in codes]
            assert len(set(values)) == len(values)
        assert all(code.short_title == code.short_title.lower() and len(code.short_title) <= 24 for code in codes)
    itemids = [item.itemid for item in (*LABS, *VITALS)] + [item[0] for item in (*INPUTS, *OUTPUTS)]
    assert len(set(itemids)) == len(itemids)
    labels = {lab.label for lab in LABS}
    assert all(set(shifts) <= labels for shifts in LAB_SHIFTS.values())
    assert {drug.group for drug in DRUGS} - {"common"} <= {code.group for code in DIAGNOSES}


def test_many_may_ask_and_one_builds(tmp_path: Path) -> None:
    builds = []

    def build(con: sqlite3.Connection) -> None:
        builds.append(1)
        con.execute("CREATE TABLE t AS SELECT 1 AS x")

    target = tmp_path / "deep" / "x.db"
    threads = [threading.Thread(target=build_once, args=(target, build)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds == [1]
    with open_readonly(target) as con:
        assert scalar(con, "SELECT x FROM t") == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            con.execute("DELETE FROM t")


def test_a_failed_build_leaves_nothing_to_be_taken_for_a_database(tmp_path: Path) -> None:
    target = tmp_path / "x.db"

    def fails(con: sqlite3.Connection) -> None:
        con.execute("CREATE TABLE half (x)")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        build_once(target, fails)
    assert not target.exists()
    build_once(target, lambda con: con.execute("CREATE TABLE whole (x)") and None)
    with open_readonly(target) as con:
        assert [name for (name,) in con.execute("SELECT name FROM sqlite_master")] == ["whole"]


def test_sql_helper_returns_the_simplest_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = build_once(
        tmp_path / "x.db",
        lambda con: con.execute("CREATE TABLE t AS SELECT 1 AS a, 'x' AS b UNION SELECT 2, 'y'") and None,
    )
    names: dict[str, object] = {}
    exec(preamble("2105-12-31 23:59:00").replace("/data/ehr.db", str(path)), names)  # the project's own text
    sql = names["sql"]
    assert callable(sql)
    assert sql("SELECT max(a) FROM t") == 2
    assert sql("SELECT a FROM t ORDER BY 1") == [1, 2]
    assert sql("SELECT a, b FROM t WHERE a=1") == [[1, "x"]]
    assert sql("SELECT a, b FROM t WHERE a=3") == []
    assert sql("SELECT date(current_time, '-1 month')") == "2105-12-01"
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        sql("DELETE FROM t")
    assert capsys.readouterr().out == ""
    with open_readonly(path) as con:
        assert run_trusted(con, "SELECT current_time", now="2100") == [("2100",)]
