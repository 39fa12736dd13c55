"""The original, from its user's disk: ``EHRSHOT_ASSETS`` with ``benchmark``, ``data`` and ``splits``.

Features are how often each of the commonest codes was recorded before the time of prediction, and the age then; no
pickle is opened. Laboratory tasks, whose labels are grades, are asked as abnormal or not.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pandas as pd

from copilot.envs.data_folder import data_root, existing
from copilot.envs.predictions import Problem
from copilot.errors import DataError

FOLDERS = ("EHRSHOT_ASSETS", "ehrshot", "EHRSHOT")
"""Names looked for under ``$MED_COPILOT_DATA``."""
_EVENTS, _PERSONS = "data/ehrshot.csv", "splits/person_id_map.csv"
_CODES = 200
_SPLITS = {"train": ("train", "val"), "test": ("train", "test")}
"""For a split of ours: upstream's splits of persons to learn from and to predict."""


def folder() -> Path | None:
    """Where the original lies, or ``None``."""
    root = data_root("ehrshot")
    return next((root / name for name in FOLDERS if (root / name / "benchmark").is_dir()), None)


def tasks_of(root: Path) -> list[str]:
    """Names of the benchmark's tasks that have labels here.

    Raises:
        DataError: The events, the split of persons or all labels are missing.
    """
    missing = [name for name in (_EVENTS, _PERSONS) if existing(root / name) is None]
    names = sorted(path.parent.name for path in root.glob("benchmark/*/labeled_patients.csv"))
    if missing or not names:
        missing += [] if names else ["benchmark/*/labeled_patients.csv"]
        raise DataError(f"EHRSHOT lacks {', '.join(missing)}", where=root, remedy="unpack the release completely")
    return names


def problems(root: Path, split: str) -> Iterator[tuple[str, Problem]]:
    """The tasks of a split, by name."""
    persons = pd.read_csv(existing(root / _PERSONS) or root)
    part = persons.set_index("omop_person_id")["split"]
    for name in tasks_of(root):
        labels = _labels(root / "benchmark" / name / "labeled_patients.csv")
        if labels is None:
            continue
        table = _count_codes(_events(root), labels)
        where = table["patient_id"].map(part)
        cut = [table[where == upstream].drop(columns="patient_id") for upstream in _SPLITS[split]]
        yield name, Problem(train=cut[0], test=cut[1])


def _labels(path: Path) -> pd.DataFrame | None:
    """Labels as 0 and 1; ``None`` where a task has no single label per row (the chest X-ray task)."""
    labels = pd.read_csv(path, parse_dates=["prediction_time"])
    values = labels["value"].replace({"True": 1, "False": 0, True: 1, False: 0})
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.isna().any() or numbers.max() > 4:
        return None
    return labels.assign(label=(numbers > 0).astype(int))[["patient_id", "prediction_time", "label"]]


@lru_cache(maxsize=1)
def _events(root: Path) -> pd.DataFrame:
    columns = ["patient_id", "start", "code"]
    return pd.read_csv(existing(root / _EVENTS) or root, usecols=columns, parse_dates=["start"])


def _count_codes(events: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    rows = labels.assign(row=range(len(labels)))
    joined = rows.merge(events, on="patient_id")
    joined = joined[joined["start"] < joined["prediction_time"]]
    common = joined["code"].value_counts().sort_index().sort_values(ascending=False, kind="stable").index[:_CODES]
    counts = pd.crosstab(joined["row"], joined["code"].where(joined["code"].isin(common)))
    counts = counts.reindex(rows["row"], fill_value=0).reset_index(drop=True)
    born = events.groupby("patient_id")["start"].min()
    age = (rows["prediction_time"] - rows["patient_id"].map(born)).dt.days / 365.25
    return pd.concat([rows[["row", "patient_id", "label"]].reset_index(drop=True), age.rename("age"), counts], axis=1)
