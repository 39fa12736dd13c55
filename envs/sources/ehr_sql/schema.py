"""The tables: MIMIC-III's, in the selection and spelling of EHRSQL (lower case, times shifted to a few years).

``CONTEXT`` is what all tasks share in a prompt: one line a table, without the ``row_id`` that every table has.
"""

import sqlite3

NOW = "2105-12-31 23:59:00"
"""The fixed present of the hospital; ``current_time`` in SQL."""

TABLES: dict[str, str] = {
    "patients": "subject_id INT, gender TEXT, dob TEXT, dod TEXT",
    "admissions": "subject_id INT, hadm_id INT, admittime TEXT, dischtime TEXT, admission_type TEXT, "
    "admission_location TEXT, discharge_location TEXT, insurance TEXT, language TEXT, marital_status TEXT, "
    "ethnicity TEXT, age INT",
    "icustays": "subject_id INT, hadm_id INT, icustay_id INT, first_careunit TEXT, last_careunit TEXT, "
    "first_wardid INT, last_wardid INT, intime TEXT, outtime TEXT",
    "transfers": "subject_id INT, hadm_id INT, icustay_id INT, eventtype TEXT, careunit TEXT, wardid INT, "
    "intime TEXT, outtime TEXT",
    "diagnoses_icd": "subject_id INT, hadm_id INT, icd9_code TEXT, charttime TEXT",
    "procedures_icd": "subject_id INT, hadm_id INT, icd9_code TEXT, charttime TEXT",
    "d_icd_diagnoses": "icd9_code TEXT, short_title TEXT, long_title TEXT",
    "d_icd_procedures": "icd9_code TEXT, short_title TEXT, long_title TEXT",
    "labevents": "subject_id INT, hadm_id INT, itemid INT, charttime TEXT, valuenum REAL, valueuom TEXT",
    "d_labitems": "itemid INT, label TEXT",
    "prescriptions": "subject_id INT, hadm_id INT, startdate TEXT, enddate TEXT, drug TEXT, dose_val_rx TEXT, "
    "dose_unit_rx TEXT, route TEXT",
    "chartevents": "subject_id INT, hadm_id INT, icustay_id INT, itemid INT, charttime TEXT, valuenum REAL, "
    "valueuom TEXT",
    "inputevents_cv": "subject_id INT, hadm_id INT, icustay_id INT, charttime TEXT, itemid INT, amount REAL",
    "outputevents": "subject_id INT, hadm_id INT, icustay_id INT, charttime TEXT, itemid INT, value REAL",
    "d_items": "itemid INT, label TEXT, linksto TEXT",
    "microbiologyevents": "subject_id INT, hadm_id INT, charttime TEXT, spec_type_desc TEXT, org_name TEXT",
    "cost": "subject_id INT, hadm_id INT, event_type TEXT, event_id INT, chargetime TEXT, cost REAL",
}
"""Table to its columns with types; ``row_id INTEGER PRIMARY KEY`` comes first in every table."""

_INDEXED = ("subject_id", "hadm_id", "itemid", "icd9_code", "drug", "event_id")


def columns(table: str) -> list[str]:
    """Column names of a table, without ``row_id``."""
    return [column.split()[0] for column in TABLES[table].split(", ")]


def create(con: sqlite3.Connection) -> None:
    """Make the empty tables."""
    for table, body in TABLES.items():
        con.execute(f"CREATE TABLE {table} (row_id INTEGER PRIMARY KEY, {body})")


def index(con: sqlite3.Connection) -> None:
    """Make the indexes, after the rows are in."""
    for table in TABLES:
        for column in (name for name in columns(table) if name in _INDEXED):
            con.execute(f"CREATE INDEX {table}_{column} ON {table} ({column})")


CONTEXT = "\n".join(
    [
        'SQLite database /data/ehr.db; sql("SELECT ...") runs a query. Text is lower case, times are '
        f"'YYYY-MM-DD hh:mm:ss', current_time is '{NOW}'. Tables:",
        *(f"{table}({', '.join(columns(table))})" for table in TABLES),
        "Codes and items have names: icd9_code in d_icd_*, itemid in d_labitems (labevents) and d_items (others).",
    ]
)
"""The compact schema shown in prompts."""
