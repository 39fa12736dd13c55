"""EHRSQL's questions to eICU, re-grounded on the open eICU Collaborative Research Database Demo.

eICU's own CSV files under ``$MED_COPILOT_DATA`` (the open demo in ``eicu_demo_2.0.1_partial`` or ``eicu-crd-demo``) are
brought into EHRSQL's schema here; a clone of glee4810/EHRSQL with its ``dataset/ehrsql/eicu/eicu.sqlite`` is read as it
is. Questions that need a table which is not there are dropped. A database is credentialed unless it holds no more
than the demo's 2,520 unit stays from a folder that is named as a demo.
"""

import functools
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from copilot.envs.csv_tables import content_digest
from copilot.envs.data_folder import data_root, existing, find_files, find_folder
from copilot.envs.ehrsql import eicu_tables
from copilot.envs.ehrsql.grounding import Vocabulary
from copilot.envs.ehrsql.questions import Question, find_questions
from copilot.envs.ehrsql.source import EhrSqlQuestions, Located
from copilot.envs.sources.base import Access, Download
from copilot.envs.sqlite_files import build_once, cache_folder, open_readonly

QUESTION_FOLDERS = ("ehrsql_questions", "EHRSQL-demo", "EHRSQL")
"""Where the questions are looked for under ``$MED_COPILOT_DATA``."""

TABLE_FOLDERS = ("eicu_demo_2.0.1_partial", "eicu-crd-demo", "eicu_demo_2.0.1", "eicu-crd")
"""Where eICU's CSV files are looked for under ``$MED_COPILOT_DATA``."""

DEMO_STAYS = 2520
"""Unit stays of the open demo."""

_QUESTION_FORMS = ("eicu_{split}.json", "dataset/ehrsql/eicu/{split}.json", "eicu/{split}.json")
_SQLITE_FORMS = ("dataset/ehrsql/eicu/eicu.sqlite", "dataset/ehrsql/eicu/eicu.db", "eicu/eicu.sqlite")
_RAW = "https://raw.githubusercontent.com/glee4810/EHRSQL/01241a3c55bda895561c76923251ea2421d2e892/dataset/ehrsql"
_DEMO = "https://physionet.org/files/eicu-crd-demo/2.0.1"
_SELECT = "SELECT DISTINCT e.{column} FROM {table} e WHERE {{where}}{more}"

VOCABULARY = Vocabulary(
    patients="SELECT DISTINCT uniquepid FROM patient",
    values={
        slot: _SELECT.format(column=column, table=table, more=more)
        for slot, column, table, more in (
            ("diagnosis_name", "diagnosisname", "diagnosis", ""),
            ("procedure_name", "treatmentname", "treatment", ""),
            ("drug_name", "drugname", "medication", ""),
            ("drug_route", "routeadmin", "medication", ""),
            ("intake_name", "celllabel", "intakeoutput", " AND e.cellpath LIKE '%intake%'"),
            ("output_name", "celllabel", "intakeoutput", " AND e.cellpath LIKE '%output%'"),
            ("culture_name", "culturesite", "microlab", ""),
            ("ward_id", "wardid", "patient", ""),
            ("admission_route", "hospitaladmitsource", "patient", ""),
            ("gender", "gender", "patient", ""),
            ("lab_name", "labname", "lab", ""),
        )
    },
    of_patient="e.patientunitstayid IN (SELECT patientunitstayid FROM patient WHERE uniquepid = ?)",
)
"""Where EHRSQL's eICU schema keeps the values of slots."""


class EICU(EhrSqlQuestions):
    """EHRSQL's questions to eICU: on the open demo, or on a user's own copy."""

    name: ClassVar[str] = "eicu"
    title: ClassVar[str] = "EHRSQL on eICU: questions re-grounded on the eICU demo, or on your eICU"
    licence: ClassVar[str] = "questions CC BY 4.0, demo ODbL 1.0"
    paper_row: ClassVar[str] = "eICU"
    kept_floor: ClassVar[Mapping[str, Fraction]] = dict.fromkeys(("train", "valid", "test"), Fraction(45, 100))
    now: ClassVar[str] = eicu_tables.NOW
    vocabulary: ClassVar[Vocabulary] = VOCABULARY
    example: ClassVar[tuple[str, str]] = (
        "How many unit stays of women older than 80 are there?",
        "SELECT count(*) FROM patient WHERE gender = 'female' AND age > 80",
    )
    notes: ClassVar[str] = (
        "patient has a row per unit stay: uniquepid is the patient, patienthealthsystemstayid the hospital visit. "
        "Null discharge times mean still here. cost.eventid is the id in the table cost.eventtype."
    )
    downloads: ClassVar[tuple[Download, ...]] = (
        *(
            Download(
                url=f"{_RAW}/eicu/{split}.json",
                path=f"EHRSQL/dataset/ehrsql/eicu/{split}.json",
                sha256=sha256,
                licence="CC BY 4.0",
            )
            for split, sha256 in (
                ("valid", "338834d2ff7b4e62687a8efd56dcf5b8d228858afefcc1872b42423e59737119"),
                ("test", "64dae91d50ab88140b10e994cb0f690286e8b62272101f9d911e75a588e757fa"),
            )
        ),
        *(
            Download(
                url=f"{_DEMO}/{file}.csv.gz",
                path=f"eicu-crd-demo/{file}.csv.gz",
                sums=f"{_DEMO}/SHA256SUMS.txt",
                licence="ODbL 1.0",
            )
            for file in ("patient", "diagnosis", "treatment", "medication", "allergy", "intakeOutput", "microLab",
                         "lab", "vitalPeriodic")
        ),
    )  # fmt: skip
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="eICU Collaborative Research Database 2.0 (credentialed)",
            apply="https://physionet.org/content/eicu-crd/2.0/ asks for a PhysioNet account, CITI training and a "
            "signed data use agreement",
            put="eicu-crd/: its CSV files, plain or .gz; or EHRSQL/dataset/ehrsql/eicu/eicu.sqlite made by upstream's "
            "preprocess/preprocess_db.sh",
        ),
    )

    def locate(self) -> Located:
        """See :class:`EhrSqlQuestions`."""
        root = find_folder(self.name, QUESTION_FOLDERS)
        questions = find_questions(root, _QUESTION_FORMS, self.splits)
        ready = next((root / form for form in _SQLITE_FORMS if (root / form).is_file()), None)
        if ready is not None:
            return Located(questions, ready, credentialed="demo" not in root.name or _stays(ready) > DEMO_STAYS)
        folders = [data_root(self.name) / name for name in TABLE_FOLDERS]
        remedy = f"put the missing files (CSV, plain or .gz) there, or {_SQLITE_FORMS[0]} made by upstream's scripts"
        files = find_files(folders, eicu_tables.REQUIRED, what="the eICU database", remedy=remedy)
        folder = files["patient"].parent
        files |= {name: path for name in eicu_tables.OPTIONAL if (path := existing(folder / f"{name}.csv"))}
        database = _built(tuple(sorted(files.items())))
        return Located(questions, database, credentialed="demo" not in folder.name or _stays(database) > DEMO_STAYS)

    def unfit(self, question: Question) -> str | None:
        """Questions about tables that this database lacks."""
        there = _tables(self.locate().database)
        missing = {name for name in eicu_tables.OPTIONAL if re.search(rf"\b{name}\.", question.sql)} - there
        return f"needs the table {', '.join(sorted(missing))}" if missing else None


@functools.lru_cache(maxsize=4)
def _built(files: tuple[tuple[str, Path], ...]) -> Path:
    found: Mapping[str, Path] = dict(files)
    digest = f"v{eicu_tables.VERSION}-{content_digest(found)}"
    target = cache_folder() / "data" / "eicu" / digest / "ehr.db"
    return build_once(target, functools.partial(eicu_tables.fill, files=found))


def _stays(database: Path) -> int:
    with open_readonly(database) as con:
        return int(con.execute("SELECT count(*) FROM patient").fetchone()[0])


@functools.lru_cache(maxsize=4)
def _tables(database: Path) -> frozenset[str]:
    with open_readonly(database) as con:
        return frozenset(row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type='table'"))


SOURCE = EICU()
