"""From MIMIC-III's tables to the measurements of the first day in intensive care.

Own code after the description of MIMIC-Extract (Wang et al., CHIL 2020): cohort of first stays of patients of at least
15 years that last 12 hours to 10 days, variables that join the item ids of both charting systems, ranges outside which
a value counts as an error, and hours since admission to the unit. Events are read in chunks, so that the whole of
MIMIC-III fits into memory.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import pandas as pd

from copilot.envs.data_folder import data_root, find_files
from copilot.envs.predictions import write_csv
from copilot.envs.sqlite_files import cache_folder
from copilot.errors import DataError

DEMO = ("mimic_iii_demo_1.4", "mimic-iii-clinical-database-demo-1.4", "mimiciii-demo")
"""Names of the open demo's folder under ``$MED_COPILOT_DATA``."""
FULL = ("mimic-iii-clinical-database-1.4", "mimiciii-1.4", "mimiciii")
"""Names of the credentialed database's folder."""
TABLES = ("ICUSTAYS", "ADMISSIONS", "PATIENTS", "CHARTEVENTS", "LABEVENTS")
"""Tables that are read."""

VARIABLES: dict[str, tuple[tuple[int, ...], float, float]] = {
    "heart_rate": ((211, 220045), 0, 350),
    "systolic_pressure": ((51, 442, 455, 6701, 220050, 220179), 0, 375),
    "diastolic_pressure": ((8368, 8440, 8441, 8555, 220051, 220180), 0, 375),
    "mean_pressure": ((52, 443, 456, 6702, 220052, 220181, 225312), 14, 330),
    "respiratory_rate": ((615, 618, 220210, 224690), 0, 300),
    "oxygen_saturation": ((646, 220277), 0, 100),
    "temperature_f": ((678, 223761), 78, 113),
    "glucose": ((807, 811, 1529, 225664, 50809, 50931), 33, 2000),
    "creatinine": ((50912,), 0.1, 60),
    "potassium": ((50822, 50971), 0, 12),
    "sodium": ((50824, 50983), 50, 225),
    "bicarbonate": ((50882,), 0, 66),
    "urea_nitrogen": ((51006,), 0, 250),
    "lactate": ((50813,), 0.4, 30),
    "hemoglobin": ((50811, 51222), 0, 25),
    "white_cells": ((51300, 51301), 0, 1000),
    "platelets": ((51265,), 0, 2000),
}
"""Item ids, and the lowest and highest value that is no error, by variable."""

_ITEMS = {item: name for name, (items, _, _) in VARIABLES.items() for item in items}
_CHUNK = 2_000_000
_DEMO_STAYS = 136
_YOUNGEST, _SHORTEST, _LONGEST = 15, 12, 240


def folder(*, full: bool) -> Path:
    """The folder of the whole database or of the demo.

    Raises:
        DataError: It is not there.
    """
    root = data_root("mimic_extract")
    names = FULL if full else DEMO
    found = next((root / name for name in names if (root / name).is_dir()), None)
    if found is None:
        raise DataError(
            f"no folder with {'MIMIC-III' if full else 'the MIMIC-III demo'}",
            where=root,
            remedy=f"one of {', '.join(names)} must be there; med-copilot tasks fetch mimic_extract says how to get it",
        )
    return found


def tables(root: Path) -> dict[str, Path]:
    """The files of the database; missing ones are one error that names them."""
    return find_files((root,), TABLES, what="MIMIC-III", remedy="get the missing tables of MIMIC-III 1.4")


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.read_csv(path, usecols=lambda name: name.lower() in columns, low_memory=False)
    return frame.rename(columns=str.lower)


@lru_cache(maxsize=2)
def files(root: Path) -> dict[str, Path]:
    """What tasks mount: ``stays.csv``, ``events.csv`` (first day, known items) and ``items.csv``; built once."""
    found = tables(root)
    facts = [(name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in sorted(found.items())]
    target = cache_folder() / "data" / "mimic_extract" / hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    made = {name: target / name for name in ("stays.csv", "events.csv", "items.csv")}
    if not all(path.exists() for path in made.values()):
        stays = _stays(found)
        if root.name in DEMO and len(stays) > _DEMO_STAYS:
            raise DataError(
                f"{len(stays)} stays are not the open demo, which has {_DEMO_STAYS}",
                where=root,
                remedy=f"name the folder {FULL[0]}, so that it is treated as credentialed",
            )
        write_csv(made["stays.csv"], stays)
        write_csv(made["items.csv"], _items())
        write_csv(made["events.csv"], _events(found, stays))
    return made


def _items() -> pd.DataFrame:
    rows = [(item, name, low, high) for name, (items, low, high) in VARIABLES.items() for item in items]
    return pd.DataFrame(rows, columns=["itemid", "variable", "low", "high"])


def _stays(found: dict[str, Path]) -> pd.DataFrame:
    stays = _read(found["ICUSTAYS"], ("subject_id", "hadm_id", "icustay_id", "first_careunit", "intime", "outtime"))
    columns = ("hadm_id", "admission_type", "admittime", "deathtime", "hospital_expire_flag")
    stays = stays.merge(_read(found["ADMISSIONS"], columns), on="hadm_id")
    stays = stays.merge(_read(found["PATIENTS"], ("subject_id", "gender", "dob")), on="subject_id")
    for column in ("intime", "outtime", "dob", "deathtime"):
        stays[column] = pd.to_datetime(stays[column])
    # dates of birth of the old are shifted by three centuries: seconds overflow, years do not
    born, entered = stays["dob"].dt, stays["intime"].dt
    before = (entered.month * 100 + entered.day) < (born.month * 100 + born.day)
    stays["age"] = entered.year - born.year - before.astype(int)
    stays["hours"] = ((stays["outtime"] - stays["intime"]).dt.total_seconds() / 3600).round(4)
    stays = stays.rename(columns={"icustay_id": "stay", "hospital_expire_flag": "died"})
    kept = [
        "stay",
        "subject_id",
        "hadm_id",
        "intime",
        "outtime",
        "hours",
        "age",
        "gender",
        "first_careunit",
        "admission_type",
        "died",
    ]
    return stays[kept].sort_values(["subject_id", "intime"], ignore_index=True)


def _events(found: dict[str, Path], stays: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for table, key in (("CHARTEVENTS", "icustay_id"), ("LABEVENTS", "hadm_id")):
        wanted = (key, "itemid", "charttime", "valuenum")
        own = "stay" if key == "icustay_id" else key
        windows = stays[[*{"stay", own}, "intime"]]
        chunks = pd.read_csv(found[table], usecols=lambda name, w=wanted: name.lower() in w, chunksize=_CHUNK)  # type: ignore[misc]
        for chunk in chunks:
            chunk = chunk.rename(columns=str.lower)
            chunk = chunk[chunk["itemid"].isin(_ITEMS) & chunk["valuenum"].notna() & chunk[key].notna()]
            joined = chunk.rename(columns={key: own}).merge(windows, on=own)
            joined["charttime"] = pd.to_datetime(joined["charttime"])
            since = joined["charttime"] - joined["intime"]
            parts.append(joined[(since >= pd.Timedelta(0)) & (since < pd.Timedelta(days=1))])
    events = pd.concat(parts)[["stay", "itemid", "charttime", "valuenum"]].rename(columns={"valuenum": "value"})
    events = events.astype({"stay": int})  # upstream leaves the stay of some events empty, so that it reads as real
    return events.sort_values(["stay", "charttime", "itemid", "value"], ignore_index=True)


@lru_cache(maxsize=2)
def stays_of(root: Path) -> pd.DataFrame:
    """The stays, with ``intime`` parsed."""
    return pd.read_csv(files(root)["stays.csv"], parse_dates=["intime", "outtime"])


@lru_cache(maxsize=2)
def measurements(root: Path) -> pd.DataFrame:
    """All values of the first day with ``variable``, ``minute``, ``hour`` and ``valid``."""
    events = pd.read_csv(files(root)["events.csv"], parse_dates=["charttime"])
    entered = stays_of(root).set_index("stay")["intime"]
    events["variable"] = events["itemid"].map(_ITEMS)
    events["minute"] = (events["charttime"] - events["stay"].map(entered)).dt.total_seconds() / 60
    events["hour"] = (events["minute"] // 60).astype(int)
    low = events["variable"].map({name: low for name, (_, low, _) in VARIABLES.items()})
    high = events["variable"].map({name: high for name, (_, _, high) in VARIABLES.items()})
    events["valid"] = (events["value"] >= low) & (events["value"] <= high)
    return events


def cohort(stays: pd.DataFrame, youngest: int, shortest: float, longest: float) -> pd.DataFrame:
    """First stays of patients of at least ``youngest`` years that last ``shortest`` to ``longest`` hours."""
    first = stays.sort_values("intime").drop_duplicates("subject_id")
    return first[(first["age"] >= youngest) & first["hours"].between(shortest, longest)]


def table(root: Path) -> pd.DataFrame:
    """One row per stay of the standard cohort: age, sex, unit, and mean, least and largest value of each variable."""
    chosen = cohort(stays_of(root), _YOUNGEST, _SHORTEST, _LONGEST).set_index("stay")
    valid = measurements(root)[lambda m: m["valid"]]
    summary = valid.pivot_table(index="stay", columns="variable", values="value", aggfunc=["mean", "min", "max"])
    summary.columns = [f"{variable}_{how}" for how, variable in summary.columns]
    about = chosen[["subject_id", "age", "gender", "first_careunit", "admission_type", "hours", "died"]]
    joined = about.join(summary).assign(age=lambda t: t["age"].clip(upper=90))
    return joined.reset_index(names="row").sort_values("row", ignore_index=True)
