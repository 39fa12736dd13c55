"""EHRSQL's questions to MIMIC-III, re-grounded on the open MIMIC-III Clinical Database Demo.

Two layouts are read under ``$MED_COPILOT_DATA``: ``ehrsql_questions`` (``mimic_iii_valid.json``, and the demo in
EHRSQL's schema in ``mimic_iii_demo_db_csv``), and a clone of upstream, glee4810/EHRSQL, whose scripts write
``dataset/ehrsql/mimic_iii/mimic_iii.sqlite`` beside its questions. A database is credentialed unless its folder is
named as a demo (``EHRSQL-demo``) and it has no more patients than the demo.
"""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from copilot.envs.csv_tables import database_of
from copilot.envs.data_folder import find_files, find_folder
from copilot.envs.ehrsql.grounding import Vocabulary
from copilot.envs.ehrsql.questions import find_questions
from copilot.envs.ehrsql.source import EhrSqlQuestions, Located
from copilot.envs.sources.base import Access, Download
from copilot.envs.sqlite_files import open_readonly

NOW = "2105-12-31 23:59:00"
"""The fixed present; ``current_time`` in SQL."""

FOLDERS = ("ehrsql_questions", "EHRSQL-demo", "EHRSQL")
"""Names looked for under ``$MED_COPILOT_DATA``."""

TABLES = (
    "admissions", "chartevents", "cost", "d_icd_diagnoses", "d_icd_procedures", "d_items", "d_labitems",
    "diagnoses_icd", "icustays", "inputevents_cv", "labevents", "microbiologyevents", "outputevents", "patients",
    "prescriptions", "procedures_icd", "transfers",
)  # fmt: skip
"""Tables of EHRSQL's MIMIC-III schema."""

TYPES = {
    **dict.fromkeys(
        ("row_id", "subject_id", "hadm_id", "icustay_id", "itemid", "event_id", "age", "wardid", "first_wardid",
         "last_wardid"), "INT"),
    **dict.fromkeys(("valuenum", "value", "amount", "cost"), "REAL"),
}  # fmt: skip
"""Columns that are not text."""

INDEXED = ("subject_id", "hadm_id", "icustay_id", "itemid", "icd9_code", "event_id")
"""Columns that queries join on."""

DEMO_PATIENTS = 100
"""Patients of the open demo."""

_QUESTION_FORMS = ("mimic_iii_{split}.json", "dataset/ehrsql/mimic_iii/{split}.json", "mimic_iii/{split}.json")
_SQLITE_FORMS = (
    "dataset/ehrsql/mimic_iii/mimic_iii.sqlite", "dataset/ehrsql/mimic_iii/mimic_iii.db", "mimic_iii/mimic_iii.sqlite",
)  # fmt: skip
_RAW = "https://raw.githubusercontent.com/glee4810/EHRSQL/01241a3c55bda895561c76923251ea2421d2e892/dataset/ehrsql"
_NAMED = "SELECT DISTINCT d.{column} FROM {events} e JOIN {names} d USING({key}) WHERE {{where}}"
_PLAIN = "SELECT DISTINCT e.{column} FROM {table} e WHERE {{where}}"

VOCABULARY = Vocabulary(
    patients="SELECT subject_id FROM patients",
    values={
        **{
            slot: _NAMED.format(column=column, events=events, names=names, key=key)
            for slot, column, events, names, key in (
                ("diagnosis_name", "short_title", "diagnoses_icd", "d_icd_diagnoses", "icd9_code"),
                ("procedure_name", "short_title", "procedures_icd", "d_icd_procedures", "icd9_code"),
                ("lab_name", "label", "labevents", "d_labitems", "itemid"),
                ("vital_name", "label", "chartevents", "d_items", "itemid"),
                ("intake_name", "label", "inputevents_cv", "d_items", "itemid"),
                ("output_name", "label", "outputevents", "d_items", "itemid"),
            )
        },
        **{
            slot: _PLAIN.format(column=column, table=table)
            for slot, column, table in (
                ("drug_name", "drug", "prescriptions"),
                ("drug_route", "route", "prescriptions"),
                ("culture_name", "spec_type_desc", "microbiologyevents"),
                ("careunit", "careunit", "transfers"),
                ("ward_id", "wardid", "transfers"),
                ("admission_route", "admission_location", "admissions"),
                ("gender", "gender", "patients"),
            )
        },
    },
    of_patient="e.subject_id = ?",
)
"""Where EHRSQL's MIMIC-III schema keeps the values of slots."""


class MimicIII(EhrSqlQuestions):
    """EHRSQL's questions to MIMIC-III: on the open demo, or on a user's own copy."""

    name: ClassVar[str] = "mimic_iii"
    title: ClassVar[str] = "EHRSQL on MIMIC-III: questions re-grounded on the MIMIC-III demo, or on your MIMIC-III"
    licence: ClassVar[str] = "questions CC BY 4.0, demo ODbL 1.0"
    paper_row: ClassVar[str] = "MIMIC-III"
    kept_floor: ClassVar[Mapping[str, Fraction]] = dict.fromkeys(("train", "valid", "test"), Fraction(45, 100))
    now: ClassVar[str] = NOW
    vocabulary: ClassVar[Vocabulary] = VOCABULARY
    example: ClassVar[tuple[str, str]] = (
        "How many stays of widowed patients began in the medical intensive care unit?",
        "SELECT count(*) FROM icustays WHERE first_careunit = 'micu' AND hadm_id IN "
        "(SELECT hadm_id FROM admissions WHERE marital_status = 'widowed')",
    )
    notes: ClassVar[str] = (
        "cost.event_id is the row_id in the table cost.event_type. Codes and items have names in the d_ tables."
    )
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(
            url=f"{_RAW}/mimic_iii/{split}.json",
            path=f"EHRSQL/dataset/ehrsql/mimic_iii/{split}.json",
            sha256=sha256,
            licence="CC BY 4.0",
        )
        for split, sha256 in (
            ("valid", "b9e958a79a6739f2d13b3131ac3d5eafe19f9f66da94854f6b68b030c4088a4b"),
            ("test", "fdf73447c55a18c0ea201d8a19cdf645539715add49046d41fa394d3acfe51f3"),
        )
    )
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="MIMIC-III Clinical Database Demo 1.4 (open, ODbL 1.0) or MIMIC-III 1.4 (credentialed)",
            apply="demo: https://physionet.org/content/mimiciii-demo/1.4/ needs no application; full database: "
            "https://physionet.org/content/mimiciii/1.4/ asks for a PhysioNet account, CITI training and a signed "
            "data use agreement",
            put="EHRSQL/dataset/ehrsql/mimic_iii/mimic_iii.sqlite: clone glee4810/EHRSQL and run its "
            "preprocess/preprocess_db.sh on the downloaded CSV files",
        ),
    )

    def locate(self) -> Located:
        """See :class:`EhrSqlQuestions`."""
        root = find_folder(self.name, FOLDERS)
        questions = find_questions(root, _QUESTION_FORMS, self.splits)
        ready = next((root / form for form in _SQLITE_FORMS if (root / form).is_file()), None)
        if ready is not None:
            return Located(questions, ready, credentialed="demo" not in root.name or not is_small(ready))
        folders = [root / "mimic_iii_demo_db_csv", root / "dataset/ehrsql/mimic_iii"]
        remedy = f"put the missing files (CSV, plain or .gz) there, or {_SQLITE_FORMS[0]} made by upstream's scripts"
        tables = find_files(folders, TABLES, what="the MIMIC-III database in EHRSQL's schema", remedy=remedy)
        folder = tables["patients"].parent
        database = database_of(self.name, tables, TYPES, INDEXED)
        named_demo = "demo" in folder.name or "demo" in root.name
        return Located(questions, database, credentialed=not named_demo or not is_small(database))


def is_small(database: Path) -> bool:
    """Whether a database in this schema holds no more patients than the open demo."""
    with open_readonly(database) as con:
        return bool(con.execute("SELECT count(*) FROM patients").fetchone()[0] <= DEMO_PATIENTS)


SOURCE = MimicIII()
