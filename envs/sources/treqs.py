"""TREQS (MIMICSQL): natural questions to five tables of MIMIC-III, answered anew on the database at hand.

Two layouts are read under ``$MED_COPILOT_DATA``: ``treqs_mimicsql`` (questions, and the five tables of the MIMIC-III
demo in ``demo_db_csv``), and a clone of upstream, wangpinggl/TREQS, with the ``mimic.db`` that its scripts make. The
published answers come from the full MIMIC-III and are not used: gold SQL runs unchanged, and questions whose answer is
empty or zero here are dropped. A database is credentialed unless its folder is named as a demo and it is no larger.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from copilot.envs.csv_tables import database_of
from copilot.envs.data_folder import find_files, find_folder, read_json_lines
from copilot.envs.ehrsql.grounding import Vocabulary
from copilot.envs.ehrsql.questions import MALFORMED, Question, find_questions
from copilot.envs.ehrsql.source import EhrSqlQuestions, Located
from copilot.envs.ehrsql.sql import masked
from copilot.envs.sources.base import Access, Download
from copilot.envs.sqlite_files import open_readonly

FOLDERS = ("treqs_mimicsql", "TREQS-demo", "TREQS")
"""Names looked for under ``$MED_COPILOT_DATA``."""

TABLES = ("demographic", "diagnoses", "lab", "prescriptions", "procedures")
"""Tables of MIMICSQL."""

TYPES = dict.fromkeys(
    ("subject_id", "hadm_id", "icustay_id", "age", "days_stay", "expire_flag", "dob_year", "dod_year", "admityear"),
    "INT",
)
"""Columns that are not text."""

DEMO_PATIENTS = 100
"""Patients of the open demo."""

_QUESTION_FORMS = ("mimicsql_natural_v2_{split}.json", "mimicsql_data/mimicsql_natural_v2/{split}.json")
_SQLITE_FORMS = ("mimic.db", "mimicsql_data/mimic.db", "evaluation/mimic_db/mimic.db")
_RAW = "https://raw.githubusercontent.com/wangpinggl/TREQS/1c3bda58b08fce0015ae1c6680cc928b3c2580cf/mimicsql_data"

_log = logging.getLogger(__name__)


class Treqs(EhrSqlQuestions):
    """MIMICSQL's natural questions: on the open demo, or on a user's own MIMIC-III."""

    name: ClassVar[str] = "treqs"
    title: ClassVar[str] = "TREQS / MIMICSQL: questions to five MIMIC-III tables, answers recomputed on the demo"
    licence: ClassVar[str] = "questions MIT, demo ODbL 1.0"
    splits: ClassVar[tuple[str, ...]] = ("train", "dev", "test")
    paper_row: ClassVar[str] = "TREQS"
    kept_floor: ClassVar[Mapping[str, Fraction]] = {
        "dev": Fraction(35, 100),
        "test": Fraction(30, 100),
        "train": Fraction(30, 100),
    }
    now: ClassVar[str] = "2210-12-31 23:59:00"
    text_case: ClassVar[str] = "Text is in upper or mixed case"
    vocabulary: ClassVar[Vocabulary] = Vocabulary("SELECT DISTINCT subject_id FROM demographic", {}, "1")
    example: ClassVar[tuple[str, str]] = (
        "How many admissions of widowed patients lasted longer than nine days?",
        "SELECT count(*) FROM demographic WHERE marital_status = 'WIDOWED' AND days_stay > 9",
    )
    notes: ClassVar[str] = "demographic has a row per hospital admission; the tables are joined on hadm_id."
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(
            url=f"{_RAW}/mimicsql_natural_v2/{split}.json",
            path=f"TREQS/mimicsql_data/mimicsql_natural_v2/{split}.json",
            sha256=sha256,
            licence="MIT",
        )
        for split, sha256 in (
            ("dev", "6634c432f980b98c7f0ee2a6f511c407c03ebeeb7d46ec4f87d646c8f14cd252"),
            ("test", "5ead3dcdd32f0ddcefaf640272e1b2509ed855bf6a869caeaa7e59977e3df0f4"),
        )
    )
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="MIMIC-III Clinical Database Demo 1.4 (open, ODbL 1.0) or MIMIC-III 1.4 (credentialed)",
            apply="demo: https://physionet.org/content/mimiciii-demo/1.4/ needs no application; full database: "
            "https://physionet.org/content/mimiciii/1.4/ asks for a PhysioNet account, CITI training and a signed "
            "data use agreement",
            put="TREQS/mimic.db (TREQS-demo/mimic.db for the demo): clone wangpinggl/TREQS and run its "
            "mimicsql_data scripts on the downloaded CSV files",
        ),
    )

    def locate(self) -> Located:
        """See :class:`EhrSqlQuestions`."""
        root = find_folder(self.name, FOLDERS)
        questions = find_questions(root, _QUESTION_FORMS, self.splits)
        ready = next((root / form for form in _SQLITE_FORMS if (root / form).is_file()), None)
        if ready is not None:
            return Located(questions, ready, credentialed="demo" not in root.name or not _is_small(ready))
        folders = [root / "demo_db_csv", root / "db_csv"]
        remedy = "put the missing files (CSV, plain or .gz) there, or the mimic.db that upstream's scripts make"
        tables = find_files(folders, TABLES, what="the MIMICSQL database", remedy=remedy)
        database = database_of(self.name, tables, TYPES, ("subject_id", "hadm_id"))
        named_demo = "demo" in tables["demographic"].parent.name
        return Located(questions, database, credentialed=not named_demo or not _is_small(database))

    def read(self, path: Path, split: str, *, drops: Counter[str]) -> Iterator[Question]:
        """Upstream's JSON lines."""
        malformed: list[int] = []
        for number, item in enumerate(read_json_lines(path, malformed=malformed), start=1):
            question = _question(item)
            if question is None:
                drops[MALFORMED] += 1
                _log.warning("%s, question %d skipped: no key, question or SQL", path, number)
            else:
                yield question
        drops.update({MALFORMED: len(malformed)} if malformed else {})


def _question(item: dict[str, Any]) -> Question | None:
    key, text, sql = (item.get(name) for name in ("key", "question_refine", "sql"))
    if not all(isinstance(part, str) and part for part in (key, text, sql)):
        return None
    return Question(str(key), str(text), str(sql), template=masked(str(sql)))


def _is_small(database: Path) -> bool:
    with open_readonly(database) as con:
        count = con.execute("SELECT count(DISTINCT subject_id) FROM demographic").fetchone()[0]
    return bool(count <= DEMO_PATIENTS)


SOURCE = Treqs()
