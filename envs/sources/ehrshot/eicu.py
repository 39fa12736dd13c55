"""The look-alike's table: stays of the eICU demo, what was known after 24 hours, and ten outcomes.

Rows are unit stays of at least a day that have the variables of the Acute Physiology Score. Outcomes that are
conditions count where they are first recorded after the first day; stays that had them before are left out.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pandas as pd

from copilot.envs.data_folder import find_files, find_folder

FOLDERS = ("eicu_demo_2.0.1_partial", "eicu-crd-demo", "eicu-collaborative-research-database-demo-2.0.1")
"""Names looked for under ``$MED_COPILOT_DATA``."""
TABLES = ("patient", "apacheapsvar", "apachepredvar", "apachepatientresult", "diagnosis", "treatment")
"""Tables that are read."""

_DAY = 1440
_ABOUT = ("gender", "age", "ethnicity", "unittype", "unitadmitsource", "admissionheight", "admissionweight")
_HISTORY = (
    "aids", "hepaticfailure", "lymphoma", "metastaticcancer", "leukemia", "immunosuppression", "cirrhosis",
    "electivesurgery", "readmit", "ventday1", "diabetes", "activetx",
)  # fmt: skip

OUTCOMES: dict[str, str] = {
    "hospital_death": "death in hospital",
    "unit_death": "death in the intensive care unit",
    "long_hospital_stay": "a hospital stay of more than 7 days",
    "long_unit_stay": "a unit stay of more than 3 days",
    "not_home": "discharge from hospital to a place other than home, or death",
    "long_ventilation": "more than 2 days of mechanical ventilation",
    "renal_failure": "acute renal failure first recorded after the first day",
    "sepsis": "sepsis first recorded after the first day",
    "respiratory_failure": "acute respiratory failure first recorded after the first day",
    "pneumonia": "pneumonia first recorded after the first day",
}
"""What is predicted, in words."""

_CONDITIONS = {
    "renal_failure": "acute renal failure",
    "sepsis": "sepsis",
    "respiratory_failure": "acute respiratory failure",
    "pneumonia": "pneumonia",
}


def folder() -> Path:
    """Where the eICU demo lies.

    Raises:
        DataError: Nowhere.
    """
    return find_folder("ehrshot", FOLDERS)


@lru_cache(maxsize=2)
def read(root: Path) -> dict[str, pd.DataFrame]:
    """The tables by name.

    Raises:
        DataError: Tables are missing; all are named.
    """
    files = find_files((root,), TABLES, what="the eICU demo", remedy="get the missing tables of eICU-CRD Demo 2.0.1")
    return {name: pd.read_csv(path, low_memory=False) for name, path in files.items()}


@lru_cache(maxsize=2)
def features(root: Path) -> pd.DataFrame:
    """One row per stay: ``row`` (the stay), ``hospital``, and what was known after 24 hours."""
    tables = read(root)
    patient = tables["patient"]
    stays = patient[patient["unitdischargeoffset"] >= _DAY].set_index("patientunitstayid")
    about = stays[list(_ABOUT)].copy()
    about["age"] = pd.to_numeric(about["age"].replace("> 89", "90"), errors="coerce")
    history = tables["apachepredvar"].drop_duplicates("patientunitstayid").set_index("patientunitstayid")
    score = tables["apacheapsvar"].drop_duplicates("patientunitstayid").set_index("patientunitstayid")
    score = score.drop(columns="apacheapsvarid").replace(-1, float("nan"))
    joined = about.join(score, how="inner").join(history[list(_HISTORY)])
    joined.insert(0, "hospital", stays["hospitalid"].reindex(joined.index))
    return joined.reset_index(names="row").sort_values("row", ignore_index=True)


def outcome(root: Path, name: str) -> "pd.Series[float]":
    """The outcome by stay: 1, 0, or missing where the question does not arise."""
    tables = read(root)
    if name in _CONDITIONS:
        return _condition(tables["diagnosis"], tables["patient"], _CONDITIONS[name])
    return _FROM_STAY[name](tables)


def _condition(diagnosis: pd.DataFrame, patient: pd.DataFrame, words: str) -> "pd.Series[float]":
    found = diagnosis[diagnosis["diagnosisstring"].str.contains(words, na=False, regex=False)]
    first = found.groupby("patientunitstayid")["diagnosisoffset"].min()
    offset = first.reindex(patient["patientunitstayid"])
    return (offset > _DAY).astype(float).where(offset.isna() | (offset > _DAY))


def _stays(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return tables["patient"].set_index("patientunitstayid")


def _known(values: "pd.Series[bool]", given: "pd.Series[str]") -> "pd.Series[float]":
    return values.astype(float).where(given.notna())


def _death(column: str) -> Callable[[dict[str, pd.DataFrame]], "pd.Series[float]"]:
    return lambda tables: _known(_stays(tables)[column] == "Expired", _stays(tables)[column])


def _long_hospital(tables: dict[str, pd.DataFrame]) -> "pd.Series[float]":
    stays = _stays(tables)
    return (stays["hospitaldischargeoffset"] - stays["hospitaladmitoffset"] > 7 * _DAY).astype(float)


def _not_home(tables: dict[str, pd.DataFrame]) -> "pd.Series[float]":
    where = _stays(tables)["hospitaldischargelocation"]
    return _known(where != "Home", where)


def _long_ventilation(tables: dict[str, pd.DataFrame]) -> "pd.Series[float]":
    result = tables["apachepatientresult"].drop_duplicates("patientunitstayid").set_index("patientunitstayid")
    return (result["actualventdays"].fillna(0) > 2).astype(float)


_FROM_STAY: dict[str, Callable[[dict[str, pd.DataFrame]], "pd.Series[float]"]] = {
    "hospital_death": _death("hospitaldischargestatus"),
    "unit_death": _death("unitdischargestatus"),
    "long_hospital_stay": _long_hospital,
    "long_unit_stay": lambda tables: (_stays(tables)["unitdischargeoffset"] > 3 * _DAY).astype(float),
    "not_home": _not_home,
    "long_ventilation": _long_ventilation,
}
