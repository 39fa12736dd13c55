"""The debugger on real exceptions: each snippet (ours, harmless) is run here and its real message explained."""

import sqlite3
import traceback
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.envs.debugger import OfflineDebugger, near
from copilot.envs.sandboxes.base import CellResult

NAMES = {
    "patients": ["row_id", "subject_id", "gender", "dob"],
    "admissions": ["row_id", "subject_id", "hadm_id", "admittime"],
    "prescriptions": ["row_id", "subject_id", "drug", "dose_val_rx"],
}


def run(code: str) -> CellResult:
    """What the sandbox reports for a failing cell."""
    database = sqlite3.connect(":memory:")
    for table, columns in NAMES.items():
        database.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
    world: dict[str, Any] = {
        "sql": lambda query: database.execute(query).fetchall(),
        "df": pd.DataFrame({"drug": ["aspirin"], "dose_val_rx": [1.0]}),
    }
    try:
        exec(compile(code, "<cell>", "exec"), world)  # the snippets below, nothing else
    except SyntaxError as error:
        return CellResult(status="error", error_type="SyntaxError", error_message=str(error), error_line=error.lineno)
    except Exception as error:
        return CellResult(
            status="error",
            stderr=traceback.format_exc(),
            error_type=type(error).__name__,
            error_message=str(error),
            error_line=next(f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == "<cell>"),
        )
    raise AssertionError(f"the snippet did not fail: {code}")


@pytest.mark.parametrize(
    ("code", "line", "advice"),
    [
        ('x = 1\nsql("SELECT * FROM prescription")', 'Line 2: sql("SELECT', "Did you mean prescriptions?"),
        ('sql("SELECT subjectid FROM patients")', "Line 1", "subject_id (patients, admissions, prescriptions)"),
        ('sql("SELECT admittime FROM patients")', "Line 1", "admittime is a column of admissions"),
        (
            'sql("SELECT subject_id FROM patients JOIN admissions ON patients.row_id = admissions.row_id")',
            "Line 1",
            "write patients.subject_id",
        ),
        ('sql("SELECT YEAR(dob) FROM patients")', "Line 1", "strftime('%Y', t)"),
        ('sql("SELECT gender FROM patients WHERE COUNT(*) > 1")', "Line 1", "HAVING"),
        ('sql("SELECT FROM patients")', "Line 1", "breaks at or just before 'FROM'"),
        ('sql("SELECT gender FROM patients WHERE (gender = 1")', "Line 1", "stops too early"),
        ('rows = sql("SELECT drug FROM prescriptions")\nrows[0][0]', "Line 2: rows[0][0]", "query without rows"),
        ("total = 3\nprint(totl)", "Line 2: print(totl)", "Did you mean total?"),
        ("x = pd.DataFrame()", "Line 1", "import pandas as pd"),
        ("print(patients)", "Line 1", "patients is a table"),
        ("df['dose']", "Line 1: df['dose']", "dose_val_rx"),
        ("df.Drug", "Line 1", "Did you mean drug?"),
        ("n = 0\nanswer = 5 / n", "Line 2: answer = 5 / n", "divisor is 0"),
        ("answer = None + 1", "Line 1", "One side is None"),
        ("answer = '3' + 1", "Line 1", "float(...) or int(...)"),
        ("answer = 3 < '4'", "Line 1", "float(...) or int(...)"),
        ("x = None\nx[0]", "Line 2", "returned nothing"),
        ("x = None\nx.strip()", "Line 2", "The object is None"),
        ("[1, 2].upper()", "Line 1", "It is a list"),
        ("len(1, 2)", "Line 1", "arguments"),
        ("float('12 mg')", "Line 1", "'12 mg' is no number"),
        ("import scikitlearn2", "Line 1", "scikitlearn2 is not installed"),
        ("SELECT drug FROM prescriptions", "Line 1", "This is SQL"),
        ("answer = (1 + 2", "Line 1", "parenthesis is not closed"),
        ("from math import log\nlog(-1)", "Line 2", "Print the values"),
    ],
)
def test_real_errors_get_the_line_and_the_advice(code: str, line: str, advice: str) -> None:
    text = OfflineDebugger().explain(code, run(code), names=NAMES)
    assert line in text
    if "log(-1)" not in code:  # the message of a domain error differs between Python versions
        assert advice in text
    assert len(text) <= 400


@pytest.mark.parametrize(
    ("stdout", "code", "hint"),
    [
        ("[]", "sql(\"SELECT * FROM prescriptions WHERE drug = 'asprin'\")", "drug has no 'asprin'; near: 'aspirin'"),
        ("[]", "sql(\"SELECT * FROM patients WHERE gender = 'female'\")", "SELECT DISTINCT gender FROM patients"),
        ("Empty DataFrame\nColumns: [drug]\nIndex: []", "df[df['drug'] == 'Asprin']", "near: 'aspirin'"),
        ("[(None,)]", "sql(\"SELECT MAX(dose) FROM x WHERE LOWER(drug) LIKE '%asprin%'\")", "near: 'aspirin'"),
        ("12", "print(12)", "look at its output"),
        ("", "answer = 12", "print(answer)"),
    ],
)
def test_empty_results_name_the_text_that_matches_nothing(stdout: str, code: str, hint: str) -> None:
    result = CellResult(status="ok", stdout=stdout)
    text = OfflineDebugger().explain(code, result, names=NAMES, values={"drug": ["aspirin", "heparin"]})
    assert hint in text


@pytest.mark.parametrize(
    ("status", "word"), [("timeout", "too long"), ("memory", "memory"), ("crashed", "Define everything again")]
)
def test_other_endings(status: Any, word: str) -> None:
    assert word in OfflineDebugger().explain("while True: pass", CellResult(status=status), names={})


def test_code_that_never_ran_has_its_syntax_checked() -> None:
    assert "parenthesis is not closed" in OfflineDebugger().explain("print((1)", None, names={})
    assert "syntax is fine" in OfflineDebugger().explain("print(1)", None, names={})
    assert "\\x00" not in OfflineDebugger().explain("(" * 300, None, names={})


def test_a_message_without_fields_is_read_from_the_traceback() -> None:
    stderr = "Traceback (most recent call last):\n  File \"<cell>\", line 2, in <module>\nKeyError: 'genders'\n"
    text = OfflineDebugger().explain("a = 1\nd['genders']", CellResult(status="error", stderr=stderr), names=NAMES)
    assert "Line 2: d['genders']" in text
    assert "Did you mean gender?" in text


def test_names_are_matched_without_case_and_underscores_first() -> None:
    assert near("SubjectID", ["subject", "subject_id", "hadm_id"])[0] == "subject_id"
    assert near("zzz", ["subject_id"]) == []


@given(st.text(), st.text(), st.text(), st.integers() | st.none(), st.integers(10, 400))
def test_never_raises_and_keeps_its_limit(code: str, error: str, message: str, line: int | None, size: int) -> None:
    for status in ("error", "ok"):
        result = CellResult(
            status=status, stdout=message, stderr=error, error_type=error, error_message=message, error_line=line
        )
        assert len(OfflineDebugger(size).explain(code, result, names=NAMES)) <= size
    assert OfflineDebugger().explain(code, None, names={})
