"""The hospital: patients, stays and everything charted, from one seed.

An admission draws a leading illness, its diagnoses follow from it and from the patient's chronic ones, and they in
turn drive laboratory values (a shift that fades or grows over the stay), drugs, procedures, cultures and death. Every
number comes from one seeded generator in a fixed order: same seed and ``GENERATOR_VERSION``, same database.
"""

import random
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta

from copilot.envs.sources.ehr_sql import events, items, schema
from copilot.envs.sources.ehr_sql.codes import DIAGNOSES, PROCEDURES
from copilot.envs.sources.ehr_sql.hospital import Hospital, Patient, Stay, text

GENERATOR_VERSION = 1
"""Raise it whenever the rows of a seed change; cached databases and frozen suites depend on it."""

PATIENTS = 500
"""Patients of the hospital."""

_NOW = datetime.fromisoformat(schema.NOW)
_START = datetime(2101, 1, 1)

_ADMISSION_TYPES = (("emergency", 80), ("elective", 15), ("urgent", 5))
_FROM = {
    "emergency": (("emergency room admit", 70), ("clinic referral/premature", 16), ("transfer from hosp/extram", 14)),
    "elective": (("phys referral/normal deli", 96), ("transfer from hosp/extram", 4)),
    "urgent": (("transfer from hosp/extram", 70), ("phys referral/normal deli", 30)),
}
_TO = (
    ("home health care", 28),
    ("home", 27),
    ("snf", 19),
    ("rehab/distinct part hosp", 14),
    ("long term care hospital", 7),
    ("hospice-home", 3),
    ("left against medical advi", 2),
)
_INSURANCE = (("private", 36), ("medicaid", 10), ("government", 4), ("self pay", 2))
_LANGUAGES = (("engl", 82), ("span", 6), ("russ", 4), ("port", 3), ("cant", 2.5), ("hait", 1.5), ("ptun", 1))
_MARITAL = (("married", 46), ("single", 27), ("widowed", 16), ("divorced", 8), ("separated", 3))
_ETHNICITY = (
    ("white", 71),
    ("black/african american", 10),
    ("unknown/not specified", 7),
    ("hispanic or latino", 5),
    ("asian", 4),
    ("other", 3),
)
_MORTALITY = {"infection": 0.2, "neuro": 0.16, "liver": 0.14, "cancer": 0.15, "lung": 0.14, "renal": 0.1}
_ILLNESSES = (
    ("coronary", 16), ("heart", 16), ("infection", 14), ("lung", 13), ("renal", 10), ("neuro", 7), ("liver", 6),
    ("bleeding", 5), ("diabetes", 5), ("trauma", 4), ("gut", 3), ("cancer", 3), ("blood", 2), ("mental", 2),
)  # fmt: skip


def fill(con: sqlite3.Connection, *, seed: int) -> None:
    """Create the tables of the hospital of ``seed`` and fill them."""
    hospital = Hospital(random.Random(f"ehr_sql {GENERATOR_VERSION} {seed}"))
    _dictionaries(hospital)
    subject_ids = sorted(hospital.rng.sample(range(10002, 45000), PATIENTS))
    hadm_ids = iter(hospital.rng.sample(range(100001, 199999), PATIENTS * 8))
    for number, subject_id in enumerate(subject_ids):
        _history(hospital, _patient(hospital, subject_id), hadm_ids, here_now=number % 16 == 7)
    schema.create(con)
    for table, rows in hospital.rows.items():
        con.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * (len(schema.columns(table)) + 1))})", rows)
    schema.index(con)


def _dictionaries(hospital: Hospital) -> None:
    for table, codes in (("d_icd_diagnoses", DIAGNOSES), ("d_icd_procedures", PROCEDURES)):
        for code in codes:
            hospital.add(table, code.code.lower(), code.short_title, code.long_title)
    for lab in items.LABS:
        hospital.add("d_labitems", lab.itemid, lab.label)
    for vital in (*items.VITALS, items.WEIGHT):
        hospital.add("d_items", vital.itemid, vital.label, "chartevents")
    for linksto, fluids in (("inputevents_cv", items.INPUTS), ("outputevents", items.OUTPUTS)):
        for itemid, label, _, _ in fluids:
            hospital.add("d_items", itemid, label, linksto)


def _patient(hospital: Hospital, subject_id: int) -> Patient:
    rng = hospital.rng
    age = min(89, max(19, int(rng.gauss(65, 16))))
    return Patient(
        subject_id=subject_id,
        gender=rng.choice("mf"),
        born=datetime(2101 - age, rng.randint(1, 12), rng.randint(1, 28)),
        chronic=[c for c in hospital.codes(DIAGNOSES, ("common",), rng.randint(2, 5)) if c.group != "infection"],
        baseline={lab.itemid: rng.gauss(0, 0.7) for lab in items.LABS},
        language=hospital.pick(_LANGUAGES),
        marital=hospital.pick(_MARITAL),
        ethnicity=hospital.pick(_ETHNICITY),
        insurance="medicare" if age > 65 and rng.random() < 0.85 else hospital.pick(_INSURANCE),
    )


def _history(hospital: Hospital, patient: Patient, hadm_ids: Iterator[int], *, here_now: bool) -> None:
    """All stays of a patient, then the line in ``patients``."""
    rng = hospital.rng
    start = _START + timedelta(minutes=rng.randint(0, 1700 * 1440))
    for _ in range(1 + min(5, int(rng.expovariate(0.7)))):
        end = start + timedelta(minutes=int(1440 * min(45.0, rng.lognormvariate(1.75, 0.7))) + 240)
        if end > _NOW - timedelta(days=12) or patient.died:
            break
        _stay(hospital, patient, next(hadm_ids), start, end, discharged=True)
        start = end + timedelta(minutes=rng.randint(5 * 1440, 420 * 1440))
    if here_now and not patient.died:
        start = _NOW - timedelta(minutes=rng.randint(2 * 1440, 9 * 1440))
        _stay(hospital, patient, next(hadm_ids), start, _NOW, discharged=False)
    died = text(patient.died.replace(hour=0, minute=0)) if patient.died else None
    hospital.add("patients", patient.subject_id, patient.gender, text(patient.born), died)


def _stay(
    hospital: Hospital, patient: Patient, hadm_id: int, start: datetime, end: datetime, *, discharged: bool
) -> None:
    rng = hospital.rng
    leading = hospital.pick(_ILLNESSES)
    acute = hospital.codes(DIAGNOSES, (leading,), rng.randint(2, 6))
    codes = list(dict.fromkeys([*acute, *(c for c in patient.chronic if rng.random() < 0.8)]))
    groups = list(dict.fromkeys([leading, *(c.group for c in codes if c.group != "common")]))
    fatal = discharged and rng.random() < _MORTALITY.get(leading, 0.06)
    stay = Stay(
        hadm_id,
        start,
        end,
        groups,
        fatal,
        severity=min(2.5, rng.lognormvariate(-0.45, 0.6)),
        slope=rng.gauss(-0.06, 0.12),
    )
    if fatal:
        patient.died, stay.slope = end, abs(stay.slope)
    kind = hospital.pick(_ADMISSION_TYPES)
    hospital.add(
        "admissions",
        patient.subject_id,
        hadm_id,
        text(start),
        text(end) if discharged else None,
        kind,
        hospital.pick(_FROM[kind]),
        ("dead/expired" if fatal else hospital.pick(_TO)) if discharged else None,
        patient.insurance,
        patient.language,
        patient.marital,
        patient.ethnicity,
        (start - patient.born).days * 100 // 36525,
    )
    events.draw(hospital, patient, stay, codes, discharged=discharged)
