"""The eICU database in EHRSQL's schema, from its own CSV files; the same bytes give the same database.

eICU tells times as minutes since a unit admission, and of dates only the year of discharge. So each patient gets a
first year within the five before ``NOW``, each hospital visit a day in its year, and every offset becomes a moment.
What lies after ``NOW`` is not yet known: events are left out, discharges are null. One patient in twenty is moved so
that the last visit is still going on. Prices are drawn, as in EHRSQL's own preprocessing: eICU has none.
"""

import csv
import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from copilot.envs.data_folder import open_text
from copilot.reward.answers import Scalar

NOW = "2105-12-31 23:59:00"
"""The fixed present."""

VERSION = 1
"""Raise it whenever the same files give another database."""

PATIENT_COLUMNS = (
    "uniquepid", "patienthealthsystemstayid", "patientunitstayid", "gender", "age", "ethnicity", "hospitalid",
    "wardid", "admissionheight", "admissionweight", "dischargeweight", "hospitaladmittime", "hospitaladmitsource",
    "unitadmittime", "unitdischargetime", "hospitaldischargetime", "hospitaldischargestatus",
)  # fmt: skip

COST_COLUMNS = ("costid", "uniquepid", "patienthealthsystemstayid", "eventtype", "eventid", "chargetime", "cost")

_NUMBERS = {"age", "hospitalid", "wardid", "patientunitstayid", "patienthealthsystemstayid", "eventid"}
_REALS = {
    "admissionheight", "admissionweight", "dischargeweight", "cellvaluenumeric", "labresult", "cost", "temperature",
    "sao2", "heartrate", "respiration", "systemicsystolic", "systemicdiastolic", "systemicmean",
}  # fmt: skip
_NOW = datetime.fromisoformat(NOW)
_FIRST_YEAR, _YEARS = _NOW.year - 5, 5
_FORMAT = "%Y-%m-%d %H:%M:%S"
Row = Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """One table of events."""

    name: str
    file: str
    offset: str
    """Column with the minutes of the event; rows after ``NOW`` are left out."""
    columns: Mapping[str, Callable[[Row], str | None]]
    """Text and number columns of the schema."""
    moment: str
    """The schema's column for the event's time."""
    stop: tuple[str, str] | None = None
    """A second moment: its column in the schema and the one with its minutes."""
    priced: bool = False
    """Whether each row has a price in ``cost``."""


def _plain(name: str) -> Callable[[Row], str | None]:
    return lambda row: row[name].strip().lower() or None


def _path(name: str) -> Callable[[Row], str | None]:
    """What stands third and fourth in a path such as ``renal|disorder|acute renal failure|due to sepsis``."""
    return lambda row: " - ".join(part.strip().lower() for part in row[name].split("|")[2:4]) or None


def _given(row: Row) -> str | None:
    return None if row["drugordercancelled"] == "Yes" else row["drugname"].strip().lower() or None


VITALS = ("temperature", "sao2", "heartrate", "respiration", "systemicsystolic", "systemicdiastolic", "systemicmean")

TABLES = (
    Table("diagnosis", "diagnosis", "diagnosisoffset", {
        "diagnosisname": _path("diagnosisstring"), "icd9code": _plain("icd9code")}, "diagnosistime", priced=True),
    Table("treatment", "treatment", "treatmentoffset", {
        "treatmentname": _path("treatmentstring")}, "treatmenttime", priced=True),
    Table("lab", "lab", "labresultoffset", {
        "labname": _plain("labname"), "labresult": _plain("labresult")}, "labresulttime", priced=True),
    Table("medication", "medication", "drugstartoffset", {
        "drugname": _given, "dosage": _plain("dosage"), "routeadmin": _plain("routeadmin")},
        "drugstarttime", ("drugstoptime", "drugstopoffset"), priced=True),
    Table("allergy", "allergy", "allergyoffset", {
        "allergyname": _plain("allergyname"), "drugname": _plain("drugname")}, "allergytime"),
    Table("intakeoutput", "intakeoutput", "intakeoutputoffset", {
        "celllabel": _plain("celllabel"), "cellpath": _plain("cellpath"),
        "cellvaluenumeric": _plain("cellvaluenumeric")}, "intakeoutputtime"),
    Table("microlab", "microlab", "culturetakenoffset", {
        "culturesite": _plain("culturesite"), "organism": _plain("organism")}, "culturetakentime", priced=True),
    Table("vitalperiodic", "vitalperiodic", "observationoffset",
          {name: _plain(name) for name in VITALS}, "observationtime"),
)  # fmt: skip
"""Tables of events in EHRSQL's eICU schema; the first column of each must not be empty."""

REQUIRED = ("patient", "diagnosis", "treatment", "medication", "allergy", "intakeoutput", "microlab")
"""Files without which there is no database."""

OPTIONAL = ("lab", "vitalperiodic")
"""Files whose questions are dropped when they are absent."""


def fill(con: sqlite3.Connection, *, files: Mapping[str, Path]) -> None:
    """Build the schema's tables from eICU's files.

    Args:
        con: An empty database.
        files: Table to CSV file: all of :data:`REQUIRED`, any of :data:`OPTIONAL`.
    """
    stays = _stays(files["patient"])
    admitted: dict[str, datetime] = {}
    visits: dict[str, tuple[str, str]] = {}
    _create(con, "patient", PATIENT_COLUMNS)
    for row, unit_admit in stays:
        stay = row["patientunitstayid"]
        admitted[stay] = unit_admit
        visits[stay] = (row["uniquepid"], row["patienthealthsystemstayid"])
        _insert(con, "patient", _patient(row, unit_admit))
    _create(
        con, "cost", ("costid", "uniquepid", "patienthealthsystemstayid", "eventtype", "eventid", "chargetime", "cost")
    )
    prices = random.Random("eicu prices")
    charges = 0
    for table in TABLES:
        if table.file not in files:
            continue
        stop = (table.stop[0],) if table.stop else ()
        key = f"{table.name}id"
        _create(con, table.name, (key, "patientunitstayid", *table.columns, table.moment, *stop))
        for number, (stay, values) in enumerate(_events(files[table.file], table, admitted)):
            _insert(con, table.name, (number, stay, *values))
            if table.priced:
                moment = values[len(table.columns)]
                price = round(min(2000.0, prices.lognormvariate(3.0, 0.9)), 2)
                _insert(con, "cost", (charges, *visits[stay], table.name, number, moment, price))
                charges += 1
    for table_name, column in (
        *((t.name, "patientunitstayid") for t in TABLES if t.file in files),
        *(("patient", c) for c in ("uniquepid", "patienthealthsystemstayid", "patientunitstayid")),
        *(("cost", c) for c in ("eventid", "patienthealthsystemstayid", "uniquepid")),
    ):
        con.execute(f"CREATE INDEX {table_name}_{column} ON {table_name} ({column})")


def _create(con: sqlite3.Connection, name: str, columns: tuple[str, ...]) -> None:
    typed = ", ".join(f"{column} {_affinity(name, column)}" for column in columns)
    con.execute(f"CREATE TABLE {name} ({typed})")


def _affinity(table: str, column: str) -> str:
    return "INT" if column in _NUMBERS or column == f"{table}id" else "REAL" if column in _REALS else "TEXT"


def _insert(con: sqlite3.Connection, name: str, values: tuple[Scalar, ...]) -> None:
    con.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values))})", values)


def _rows(path: Path) -> Iterator[Row]:
    with open_text(path) as file:
        yield from csv.DictReader(file)


def _stays(path: Path) -> list[tuple[Row, datetime]]:
    """Unit stays with the moment of admission to the unit, in the order of patients and visits."""
    by_patient: dict[str, list[Row]] = defaultdict(list)
    for row in _rows(path):
        if _is_sound(row):
            by_patient[row["uniquepid"]].append(row)
    return [pair for patient in sorted(by_patient) for pair in _dated(patient, by_patient[patient])]


def _is_sound(row: Row) -> bool:
    """Adults of known sex and age whose stay is in order and shorter than four weeks, as EHRSQL takes them."""
    if row["gender"] not in ("Male", "Female") or not row["age"].isdigit() or int(row["age"]) <= 10:
        return False
    if not row["hospitaladmitsource"] or not row["hospitaladmitoffset"] or not row["hospitaldischargeoffset"]:
        return False
    begin, end, left = (
        int(row[name]) for name in ("hospitaladmitoffset", "unitdischargeoffset", "hospitaldischargeoffset")
    )
    return begin <= 0 < end <= left and left - begin < 28 * 1440


def _dated(patient: str, rows: list[Row]) -> list[tuple[Row, datetime]]:
    rng = random.Random(f"eicu dates {VERSION} {patient}")
    visits: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        visits[int(row["hospitaldischargeyear"]), int(row["patienthealthsystemstayid"])].append(row)
    years = sorted({year for year, _ in visits})
    first = _FIRST_YEAR + rng.randrange(_YEARS)
    begins: dict[tuple[int, int], datetime] = {}
    for year in years:
        same = sorted(visit for visit in visits if visit[0] == year)
        for place, visit in enumerate(same):
            day = int((place + rng.random()) * 365 / len(same))
            clock = datetime.strptime(visits[visit][0]["hospitaladmittime24"], "%H:%M:%S")
            begins[visit] = datetime(first + year - years[0], 1, 1, clock.hour, clock.minute) + timedelta(days=day)
    last = max(begins)
    if rng.random() < 0.05:  # still here
        length = max(int(r["hospitaldischargeoffset"]) - int(r["hospitaladmitoffset"]) for r in visits[last])
        shift = _NOW - timedelta(minutes=int(length * rng.uniform(0.3, 0.9))) - begins[last]
        begins = {visit: begin + shift for visit, begin in begins.items()}
    return [
        (row, begin - timedelta(minutes=int(row["hospitaladmitoffset"])))
        for visit, begin in sorted(begins.items())
        for row in sorted(visits[visit], key=lambda r: int(r["patientunitstayid"]))
        if begin - timedelta(minutes=int(row["hospitaladmitoffset"])) < _NOW
    ]


def _patient(row: Row, unit_admit: datetime) -> tuple[Scalar, ...]:
    left = _moment(unit_admit, row["hospitaldischargeoffset"])
    special: dict[str, str | None] = {
        "hospitaladmittime": _moment(unit_admit, row["hospitaladmitoffset"]),
        "unitadmittime": _moment(unit_admit, "0"),
        "unitdischargetime": _moment(unit_admit, row["unitdischargeoffset"]),
        "hospitaldischargetime": left,
        "hospitaldischargestatus": (row["hospitaldischargestatus"].lower() or None) if left else None,
        "dischargeweight": (row["dischargeweight"] or None) if left else None,
    }
    return tuple(special[name] if name in special else row[name].strip().lower() or None for name in PATIENT_COLUMNS)


def _events(path: Path, table: Table, admitted: Mapping[str, datetime]) -> Iterator[tuple[str, tuple[Scalar, ...]]]:
    for row in _rows(path):
        stay = row["patientunitstayid"]
        if stay not in admitted or not (moment := _moment(admitted[stay], row[table.offset])):
            continue
        values = [read(row) for read in table.columns.values()]
        if values[0] is None:
            continue
        stop = (_moment(admitted[stay], row[table.stop[1]]),) if table.stop else ()
        yield stay, (*values, moment, *stop)


def _moment(unit_admit: datetime, minutes: str) -> str | None:
    """The moment of an offset; ``None`` when there is none or it lies after ``NOW``."""
    if not minutes:
        return None
    moment = unit_admit + timedelta(minutes=int(float(minutes)))
    return moment.strftime(_FORMAT) if moment <= _NOW else None
