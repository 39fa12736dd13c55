"""EHRSQL-2024 (NAACL ClinicalNLP shared task) on the MIMIC-IV Clinical Database Demo, from the user's disk.

Two layouts are read under ``$MED_COPILOT_DATA``: ``ehrsql2024_mimic_iv_demo`` (tables as CSV, questions in
``tasks_v1.0``), and a clone of upstream, glee4810/ehrsql-2024, with its ``data/mimic_iv/{train,valid,test}`` and
``mimic_iv.sqlite`` or CSV tables beside them. CSV tables become one SQLite file, built once per content.

Gold answers are upstream's texts, read as literals and never evaluated. Upstream keeps the first 100 sorted rows: where
exactly 100 are given and the gold query confirms them, the reference is the whole result. Upstream rounds to three
decimals: a single number is accepted within half a unit of the last one.
"""

import ast
import functools
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from copilot.envs import feedback
from copilot.envs.actions import ExecuteCode, Submit
from copilot.envs.csv_tables import database_of, schema
from copilot.envs.data_folder import existing, find_files, find_folder, read_json
from copilot.envs.ehrsql.questions import MALFORMED
from copilot.envs.ehrsql.source import PERMITTED
from copilot.envs.ehrsql.sql import NULL, clean_sql, kind_of, masked, template_key
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Download, Source
from copilot.envs.sqlite_files import open_readonly, preamble, run_trusted
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

_UPSTREAM_CUT = 100
_ROUNDING = 0.00051
_REL_TOL = 1e-3
_PARTS = ("data", "label", "answer")
_QUESTION_FORMS = ("tasks_v1.0/{split}_{part}.json", "{split}/{part}.json", "data/mimic_iv/{split}/{part}.json")
_TABLE_FOLDERS = ("db_csv", "data/mimic_iv", ".")
_SQLITE_FORMS = ("mimic_iv.sqlite", "data/mimic_iv/mimic_iv.sqlite", "mimic_iv.db")
_TYPES = {
    **dict.fromkeys(("row_id", "subject_id", "hadm_id", "stay_id", "itemid", "transfer_id", "event_id", "age"), "INT"),
    **dict.fromkeys(("valuenum", "value", "amount", "totalamount", "cost"), "REAL"),
}
_INDEXED = ("subject_id", "hadm_id", "stay_id", "itemid", "icd_code", "event_id")
_RAW = "https://raw.githubusercontent.com/glee4810/ehrsql-2024/46597893d9ffc6b9e67785b9c6dcbb06f1b62568/data/mimic_iv"
_SHA256 = {
    "train/data": "5831de7229fbbd3af0f22685a6c7338d2656b3a975b060ad3b5a22d0a7cc5f19",
    "train/label": "bbfc13a6291d8677eafe4c6b25f186708f5150abf8e19788fa567ec997855ca3",
    "train/answer": "87f5f2d1485dbf7e2f4a0ffbf1f8179516f252def642d2db9c54ba2ea0df580a",
    "valid/data": "106fe2d679dc66daa3b2e0797fef7badd1f9264db4e64b40677ebceda736acdc",
    "valid/label": "9addafb996119b0e4a1b05928a6d4d42f33c073fa6d72edbdf8273faa40a6db0",
    "valid/answer": "d8339672bb752bde0bbda4ed4359db0fb64fb8d9e81cb7a782866b7cca17484b",
    "test/data": "b694d389aaf943c2ed7d64bf62d8161b9919a3191501831e2ca767237eb44960",
    "test/label": "307d8666440e45d35aa7852e19d32160844025592352f47a2aa0325178005450",
    "test/answer": "98c21b3a484fa7b4ed2c79edefbafac78b5ed7d940d26e14d0e5fcba759c1f56",
}

_log = logging.getLogger(__name__)


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
    return read_layout(find_folder("ehrsql2024", FOLDERS))


def read_layout(root: Path) -> Layout:
    """What a data folder holds.

    Raises:
        DataError: Tables are missing, or there are no questions.
    """
    questions = {}
    for split in EhrSql2024.splits:
        for form in _QUESTION_FORMS:
            found = [existing(root / form.format(split=split, part=part)) for part in _PARTS]
            if all(found):
                questions[split] = tuple(path for path in found if path)
                break
    database = next((root / form for form in _SQLITE_FORMS if (root / form).is_file()), None)
    remedy = "put the missing files (CSV, plain or .gz) there, or upstream's mimic_iv.sqlite into the folder"
    folders = [root / folder for folder in _TABLE_FOLDERS]
    tables = {} if database else find_files(folders, TABLES, what="the EHRSQL-2024 database", remedy=remedy)
    if not questions:
        raise DataError(
            "no questions in the EHRSQL-2024 folder",
            where=root,
            remedy="it needs tasks_v1.0/train_{data,label,answer}.json.gz, or upstream's "
            "data/mimic_iv/train/{data,label,answer}.json",
        )
    return Layout(root, questions, tables, database)


@functools.cache
def _database(layout_root: Path) -> Path:
    layout = read_layout(layout_root)
    return layout.database or database_of("ehrsql2024", layout.tables, _TYPES, _INDEXED)


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
    kept_floor: ClassVar[Mapping[str, Fraction]] = dict.fromkeys(splits, Fraction(98, 100))
    reproduced_floor: ClassVar[Fraction] = Fraction(99, 100)
    downloads: ClassVar[tuple[Download, ...]] = (
        *(
            Download(
                url=f"{_RAW}/{part}.json",
                path=f"ehrsql-2024/data/mimic_iv/{part}.json",
                sha256=sha256,
                licence="CC BY 4.0",
            )
            for part, sha256 in _SHA256.items()
        ),
        Download(
            url=f"{_RAW}/mimic_iv.sqlite",
            path="ehrsql-2024/data/mimic_iv/mimic_iv.sqlite",
            git_blob="b1b205e0de42ad0551fa84cf402f71a994d39a48",
            licence="ODbL 1.0",
        ),
    )

    def __init__(self) -> None:
        self._drops: dict[tuple[Path, ...], Counter[str]] = {}

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Questions of a split in upstream's order; ``seed`` changes nothing."""
        layout = find_layout()
        paths = self._paths(layout, split)
        data, labels, answers = map(read_json, paths)
        items = data.get("data") if isinstance(data, dict) else None
        if not isinstance(items, list) or not isinstance(labels, dict) or not isinstance(answers, dict):
            raise DataError("no questions in upstream's form", where=paths[0].parent, remedy="get the files anew")
        database, kept, drops = _database(layout.root), 0, Counter[str]()
        context = describe(database)
        with open_readonly(database) as con:
            for number, item in enumerate(items, start=1):
                if kept == limit:
                    return
                fault = _fault(item, labels, answers)
                if fault is not None:
                    drops[fault] += 1
                    _log.warning("%s, item %d skipped: %s", paths[0], number, fault)
                    continue
                kept += 1
                sql = clean_sql(labels[item["id"]])
                answer = _answer(con, sql, answers[item["id"]], where=paths[2])
                yield _task(split, item, sql, answer, context)
        self._drops[paths] = drops

    def dropped(self, split: str) -> Mapping[str, int]:
        """Items that are not what they should be."""
        paths = self._paths(find_layout(), split)
        if paths not in self._drops:
            for _ in self.tasks(split):
                pass
        return self._drops[paths]

    def _paths(self, layout: Layout, split: str) -> tuple[Path, ...]:
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}", remedy=f"one of {', '.join(self.splits)}")
        if split not in layout.questions:
            wanted = ", ".join(_QUESTION_FORMS[2].format(split=split, part=part) for part in _PARTS)
            raise DataError(f"no {split} questions here", where=layout.root, remedy=f"add upstream's {wanted}")
        return layout.questions[split]

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
    return "\n".join(
        [
            'SQLite database /data/ehr.db; sql("SELECT ...") runs a query. Text is lower case, times are '
            f"'YYYY-MM-DD hh:mm:ss', current_time is '{NOW}'. Every table also has row_id. Tables:",
            schema(database),
            "cost.event_id is the row_id in the table cost.event_type. Codes and items have names in the d_ tables.",
        ]
    )


def _fault(item: Any, labels: dict[str, Any], answers: dict[str, Any]) -> str | None:
    """Why an item is no question, or ``None``."""
    if not isinstance(item, dict) or not isinstance(item.get("question"), str) or not isinstance(item.get("id"), str):
        return MALFORMED
    known = (isinstance(part.get(item["id"]), str) for part in (labels, answers))
    return None if all(known) else "no SQL or answer"


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
        template=template_key(masked(item["question"] if unanswerable else sql)),
        category="unanswerable" if unanswerable else kind_of(sql),
        permitted=PERMITTED,
        reference=Reference(answer=answer, program="" if unanswerable else f"answer = sql({json.dumps(sql)})"),
        metadata={"upstream_id": item["id"], "sql": "" if unanswerable else sql},
    )


SOURCE = EhrSql2024()
