"""EHRSQL-2024 (NAACL ClinicalNLP shared task) on the MIMIC-IV Clinical Database Demo, from the user's disk.

Two layouts are read under ``$MED_COPILOT_DATA``: ``ehrsql2024_mimic_iv_demo`` (tables as CSV, questions in
``tasks_v1.0``), and a clone of upstream, glee4810/ehrsql-2024, with its ``data/mimic_iv/{train,valid,test}`` and
``mimic_iv.sqlite`` or CSV tables beside them. CSV tables become one SQLite file, built once per content.

Gold answers are upstream's texts, read as literals and never evaluated. Upstream keeps the first 100 sorted rows: where
exactly 100 are given and the gold query confirms them, the reference is the whole result. Upstream rounds to three
decimals: a single number is accepted within half a unit of the last one.
"""

import ast
import csv
import functools
import gzip
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Source
from copilot.envs.sqlite_files import build_once, cache_folder, open_readonly, preamble, run_trusted
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError
from copilot.reward.answers import Answer, RowsAnswer, Scalar, UnanswerableAnswer
from copilot.reward.values import read_number

NOW = "2100-12-31 23:59:00"
"""The fixed present; ``current_time`` in SQL."""

FOLDERS = ("ehrsql2024_mimic_iv_demo", "ehrsql-2024", "ehrsql2024")
"""Names looked for under ``$MED_COPILOT_DATA``."""

TABLES = (
    "admissions", "chartevents", "cost", "d_icd_diagnoses", "d_icd_procedures", "d_items", "d_labitems",
    "diagnoses_icd", "icustays", "inputevents", "labevents", "microbiologyevents", "outputevents", "patients",
    "prescriptions", "procedures_icd", "transfers",
)  # fmt: skip
"""Tables of the database."""

NULL = "null"
"""Upstream's mark of an unanswerable question."""

_UPSTREAM_CUT = 100
_ROUNDING = 0.00051
_REL_TOL = 1e-3
_PARTS = ("data", "label", "answer")
_QUESTION_FORMS = ("tasks_v1.0/{split}_{part}.json", "{split}/{part}.json", "data/mimic_iv/{split}/{part}.json")
_TABLE_FOLDERS = ("db_csv", "data/mimic_iv", ".")
_SQLITE_FORMS = ("mimic_iv.sqlite", "data/mimic_iv/mimic_iv.sqlite", "mimic_iv.db")
_INTEGERS = {"row_id", "subject_id", "hadm_id", "stay_id", "itemid", "transfer_id", "event_id", "age"}
_REALS = {"valuenum", "value", "amount", "totalamount", "cost"}
_NORMAL_RANGES = {
    "temperature": (35.5, 38.1),
    "sao2": (95.0, 100.0),
    "heart_rate": (60.0, 100.0),
    "respiration": (12.0, 18.0),
    "systolic_bp": (90.0, 120.0),
    "diastolic_bp": (60.0, 90.0),
    "mean_bp": (60.0, 110.0),
}
"""What upstream puts for ``temperature_lower`` and the like in gold SQL."""


@dataclass(frozen=True)
class Layout:
    """Where things lie in a data folder."""

    root: Path
    questions: dict[str, tuple[Path, ...]]
    """Split to its files of questions, SQL and answers."""
    tables: dict[str, Path]
    """Table to its CSV file; empty when there is a database."""
    database: Path | None
    """A ready SQLite file."""


def find_layout() -> Layout:
    """The data folder under ``$MED_COPILOT_DATA``.

    Raises:
        DataError: The variable is unset, the folder is missing, or it lacks tables; the files are named.
    """
    remedy = f"point MED_COPILOT_DATA to the folder that holds one of: {', '.join(FOLDERS)}"
    parent = os.environ.get("MED_COPILOT_DATA")
    if not parent:
        raise DataError("ehrsql2024 needs its data, and MED_COPILOT_DATA is not set", remedy=remedy)
    roots = [root for folder in FOLDERS if (root := Path(parent).absolute() / folder).is_dir()]
    if not roots:
        raise DataError("no EHRSQL-2024 folder", where=parent, remedy=remedy)
    return read_layout(roots[0])


def read_layout(root: Path) -> Layout:
    """What a data folder holds.

    Raises:
        DataError: Tables are missing, or there are no questions.
    """
    questions = {}
    for split in EhrSql2024.splits:
        for form in _QUESTION_FORMS:
            found = [_existing(root / form.format(split=split, part=part)) for part in _PARTS]
            if all(found):
                questions[split] = tuple(path for path in found if path)
                break
    database = next((root / form for form in _SQLITE_FORMS if (root / form).is_file()), None)
    tables = {} if database else _csv_tables(root)
    if not questions:
        raise DataError(
            "no questions in the EHRSQL-2024 folder",
            where=root,
            remedy="it needs tasks_v1.0/train_{data,label,answer}.json.gz, or upstream's "
            "data/mimic_iv/train/{data,label,answer}.json",
        )
    return Layout(root, questions, tables, database)


def _existing(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def _csv_tables(root: Path) -> dict[str, Path]:
    """CSV files by table, from the folder that has most of them; all must be there."""
    found = [
        {table: path for table in TABLES if (path := _existing(root / folder / f"{table}.csv"))}
        for folder in _TABLE_FOLDERS
    ]
    best = max(found, key=len)
    missing = [f"{table}.csv.gz" for table in TABLES if table not in best]
    if missing:
        where = next(iter(best.values())).parent if best else root
        raise DataError(
            f"the EHRSQL-2024 database lacks {len(missing)} of {len(TABLES)} tables: {', '.join(missing)}",
            where=where,
            remedy="put the missing files (CSV, plain or .gz) there, or upstream's mimic_iv.sqlite into the folder",
        )
    return best


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else open(path, newline="")


@functools.cache
def _database(layout_root: Path) -> Path:
    layout = read_layout(layout_root)
    if layout.database:
        return layout.database
    digest = hashlib.sha256()
    for table in TABLES:
        digest.update(table.encode() + hashlib.sha256(layout.tables[table].read_bytes()).digest())
    target = cache_folder() / "data" / "ehrsql2024" / digest.hexdigest()[:16] / "ehr.db"
    return build_once(target, functools.partial(_load, tables=layout.tables))


def _load(con: sqlite3.Connection, *, tables: dict[str, Path]) -> None:
    for table, path in tables.items():
        with _open(path) as file:
            rows = csv.reader(file)
            names = next(rows)
            con.execute(f"CREATE TABLE {table} ({', '.join(f'{name} {_affinity(name)}' for name in names)})")
            con.executemany(
                f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})",
                ([cell if cell != "" else None for cell in row] for row in rows),
            )
            for name in ("subject_id", "hadm_id", "stay_id", "itemid", "icd_code", "event_id"):
                if name in names:
                    con.execute(f"CREATE INDEX {table}_{name} ON {table} ({name})")


def _affinity(name: str) -> str:
    return "INT" if name in _INTEGERS else "REAL" if name in _REALS else "TEXT"


def clean_sql(sql: str) -> str:
    """Gold SQL in runnable form: white space, and numbers for upstream's names of normal ranges."""
    for name, (low, high) in _NORMAL_RANGES.items():
        sql = sql.replace(f"{name}_lower", str(low)).replace(f"{name}_upper", str(high))
    return re.sub(r"\s+", " ", sql).strip()


def parse_answer(text: str, *, where: object) -> tuple[tuple[Scalar, ...], ...]:
    """Rows of a gold answer such as ``"[['0.95']]"``.

    Raises:
        DataError: The text is no list of rows.
    """
    try:
        rows = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise DataError(f"gold answer {text[:60]!r} is no list of rows", where=where) from error
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise DataError(f"gold answer {text[:60]!r} is no list of rows", where=where)
    return tuple(tuple(row) for row in rows)


def as_upstream(rows: Sequence[Sequence[Scalar]]) -> list[list[str]]:
    """Rows as upstream writes a gold answer: texts, sorted, the first 100."""
    return sorted([str(cell) for cell in row] for row in rows)[:_UPSTREAM_CUT]


class EhrSql2024(Source):
    """EHRSQL-2024: questions of hospital staff to the MIMIC-IV demo, about one in seven without an answer."""

    name: ClassVar[str] = "ehrsql2024"
    title: ClassVar[str] = "EHRSQL-2024: hospital staff's questions to the MIMIC-IV demo"
    licence: ClassVar[str] = "questions CC BY 4.0, data ODbL 1.0"
    splits: ClassVar[tuple[str, ...]] = ("train", "valid", "test")

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Questions of a split in upstream's order; ``seed`` changes nothing."""
        layout = find_layout()
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}", remedy=f"one of {', '.join(self.splits)}")
        if split not in layout.questions:
            wanted = ", ".join(_QUESTION_FORMS[2].format(split=split, part=part) for part in _PARTS)
            raise DataError(f"no {split} questions here", where=layout.root, remedy=f"add upstream's {wanted}")
        data, labels, answers = (_read_json(path) for path in layout.questions[split])
        context = describe(_database(layout.root))
        with open_readonly(_database(layout.root)) as con:
            for number, item in enumerate(data["data"]):
                if limit is not None and number >= limit:
                    return
                key = item["id"]
                if key not in labels or key not in answers:
                    raise DataError(
                        f"question {key!r} has no SQL or answer",
                        where=layout.questions[split][1],
                        remedy="get the files anew",
                    )
                sql = clean_sql(labels[key])
                answer = _answer(con, sql, answers[key], where=layout.questions[split][2])
                yield _task(split, item, sql, answer, context)

    def files(self, task: Task) -> dict[str, Path]:
        """The database, as ``/data/ehr.db``."""
        return {"ehr.db": _database(find_layout().root)}

    def preamble(self, task: Task) -> str:
        """``sql(query)``."""
        return preamble(NOW)

    def worked_example(self) -> WorkedExample:
        """A count over two tables; no split asks it."""
        sql = (
            "SELECT count(*) FROM icustays WHERE first_careunit LIKE '%surgical%' AND hadm_id IN "
            "(SELECT hadm_id FROM admissions WHERE marital_status = 'widowed')"
        )
        with open_readonly(_database(find_layout().root)) as con:
            value = run_trusted(con, sql, now=NOW)[0][0]
        shown = feedback.of_cell(CellResult(status="ok"), answer=(value,)).text
        return WorkedExample(
            question="How many stays in surgical intensive care units began with a widowed patient?",
            steps=((ExecuteCode(code=f"answer = sql({json.dumps(sql)})"), shown), (Submit(variable="answer"), "")),
        )


def describe(database: Path) -> str:
    """The compact schema of a database, for prompts."""
    with open_readonly(database) as con:
        tables = [row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY 1")]
        columns = {t: [c[1] for c in con.execute(f"PRAGMA table_info({t})") if c[1] != "row_id"] for t in tables}
    return "\n".join(
        [
            'SQLite database /data/ehr.db; sql("SELECT ...") runs a query. Text is lower case, times are '
            f"'YYYY-MM-DD hh:mm:ss', current_time is '{NOW}'. Every table also has row_id. Tables:",
            *(f"{table}({', '.join(names)})" for table, names in columns.items()),
            "cost.event_id is the row_id in the table cost.event_type. Codes and items have names in the d_ tables.",
        ]
    )


def _read_json(path: Path) -> Any:
    try:
        with _open(path) as file:
            return json.load(file)
    except (ValueError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"not readable as JSON: {error}", where=path, remedy="get the file anew") from error


def _answer(con: sqlite3.Connection, sql: str, gold: str, *, where: Path) -> Answer:
    if gold == NULL:
        return UnanswerableAnswer()
    rows = parse_answer(gold, where=where)
    if len(rows) == _UPSTREAM_CUT:
        whole = run_trusted(con, sql, now=NOW)
        if as_upstream(whole) == [list(row) for row in rows]:
            rows = tuple(whole)
    return RowsAnswer(rows=rows, rel_tol=_tolerance(rows))


def _tolerance(rows: tuple[tuple[Scalar, ...], ...]) -> float:
    """Relative tolerance that forgives upstream's rounding of a single small number."""
    value = read_number(rows[0][0]) if len(rows) == 1 and len(rows[0]) == 1 else None
    return max(_REL_TOL, _ROUNDING / abs(value)) if isinstance(value, float) and value else _REL_TOL


def _task(split: str, item: dict[str, Any], sql: str, answer: Answer, context: str) -> Task:
    unanswerable = isinstance(answer, UnanswerableAnswer)
    return Task(
        id=f"ehrsql2024/{split}/{item['id']}",
        source="ehrsql2024",
        split=split,
        question=item["question"],
        context=context,
        template=item.get("template", ""),
        category="unanswerable" if unanswerable else "answerable",
        permitted=(ActionName.REQUEST_INFO, ActionName.EXECUTE_CODE, ActionName.DEBUG, ActionName.SUBMIT),
        reference=Reference(answer=answer, program="" if unanswerable else f"answer = sql({json.dumps(sql)})"),
        metadata={"upstream_id": item["id"], "sql": "" if unanswerable else sql},
    )


SOURCE = EhrSql2024()
