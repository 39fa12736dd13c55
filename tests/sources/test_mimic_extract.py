"""The pipeline on a made-up hospital in closed form, and on the demo where it is."""

import gzip
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from copilot.envs.sources.mimic_extract import SOURCE, pipeline
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.graders import grade

needs_data = pytest.mark.skipif(not os.environ.get("MED_COPILOT_DATA"), reason="MED_COPILOT_DATA is not set")

ICU = [
    (1, 10, 1, "MICU", "2100-01-01 06:00:00", "2100-01-03 06:00:00"),
    (1, 11, 2, "MICU", "2101-01-01 06:00:00", "2101-01-03 06:00:00"),
    (2, 20, 3, "SICU", "2100-05-01 00:30:00", "2100-05-01 05:30:00"),
    (3, 30, 4, "CCU", "2100-05-01 00:30:00", "2100-05-21 00:30:00"),
]
CHART = [
    (1, 211, "2100-01-01 06:10:00", 80.0),
    (1, 220045, "2100-01-01 06:50:00", 90.0),
    (1, 211, "2100-01-01 06:55:00", 900.0),
    (1, 211, "2100-01-01 09:00:00", 70.0),
    (1, 211, "2100-01-02 06:00:00", 60.0),
    (1, 9999, "2100-01-01 07:00:00", 1.0),
]


def write(path: Path, frame: pd.DataFrame) -> None:
    with gzip.open(path, "wt") as file:
        frame.to_csv(file, index=False)


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    monkeypatch.setenv("MED_COPILOT_HOME", str(tmp_path / "cache"))
    root = tmp_path / "mimiciii-demo"
    root.mkdir()
    stays = pd.DataFrame(ICU, columns=["SUBJECT_ID", "HADM_ID", "ICUSTAY_ID", "FIRST_CAREUNIT", "INTIME", "OUTTIME"])
    write(root / "ICUSTAYS.csv.gz", stays)
    admissions = stays[["HADM_ID"]].assign(ADMISSION_TYPE="EMERGENCY", DEATHTIME=None, HOSPITAL_EXPIRE_FLAG=0)
    write(root / "ADMISSIONS.csv.gz", admissions)
    born = ["2040-06-01", "1800-01-01", "2090-01-01"]
    write(root / "PATIENTS.csv.gz", pd.DataFrame({"SUBJECT_ID": [1, 2, 3], "GENDER": ["F", "M", "M"], "DOB": born}))
    events = pd.DataFrame(CHART, columns=["ICUSTAY_ID", "ITEMID", "CHARTTIME", "VALUENUM"])
    write(root / "CHARTEVENTS.csv.gz", events.assign(HADM_ID=10))
    labs = pd.DataFrame([(10, 50912, "2100-01-01 08:00:00", 1.5), (11, 50912, "2100-01-01 08:00:00", 9.9)])
    write(root / "LABEVENTS.csv.gz", labs.set_axis(["HADM_ID", "ITEMID", "CHARTTIME", "VALUENUM"], axis=1))
    return root


def test_the_pipeline_in_closed_form(hospital: Path) -> None:
    values = pipeline.measurements(hospital)
    assert values[["stay", "variable", "minute", "hour", "value", "valid"]].to_numpy().tolist() == [
        [1, "heart_rate", 10.0, 0, 80.0, True],
        [1, "heart_rate", 50.0, 0, 90.0, True],
        [1, "heart_rate", 55.0, 0, 900.0, False],
        [1, "creatinine", 120.0, 2, 1.5, True],
        [1, "heart_rate", 180.0, 3, 70.0, True],
    ]
    stays = pipeline.stays_of(hospital)
    assert stays["age"].tolist() == [59, 60, 300, 10]
    assert stays["hours"].tolist() == [48.0, 48.0, 5.0, 480.0]
    assert pipeline.cohort(stays, 15, 12, 240)["stay"].tolist() == [1]
    row = pipeline.table(hospital).iloc[0]
    assert (row["heart_rate_mean"], row["heart_rate_min"], row["heart_rate_max"]) == (80.0, 70.0, 90.0)


def test_the_whole_database_is_credentialed_and_the_demo_is_not(hospital: Path) -> None:
    assert not SOURCE.credentialed
    with pytest.raises(DataError, match="no folder with MIMIC-III"):
        list(SOURCE.tasks("train"))
    hospital.rename(hospital.with_name("mimiciii"))
    assert SOURCE.credentialed
    (hospital.with_name("mimiciii") / "LABEVENTS.csv.gz").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of 5 tables: LABEVENTS\.csv\.gz"):
        list(SOURCE.tasks("train"))


def run(task: Task) -> Any:
    code = task.reference.program
    for name, path in SOURCE.files(task).items():
        code = code.replace(f"/data/{name}", str(path))
    world: dict[str, Any] = {}
    exec(code, world)  # our own program text
    answer = world["answer"]
    return answer.item() if hasattr(answer, "item") else answer


@needs_data
@pytest.mark.data
def test_programs_agree_with_the_host_and_patients_are_apart() -> None:
    tasks = list(SOURCE.tasks("test_form", limit=25))
    assert [task.id for task in tasks if not grade(task.reference.answer, run(task)).correct] == []
    subjects = pipeline.stays_of(pipeline.folder(full=False)).set_index("stay")["subject_id"]

    def patients(split: str) -> set[int]:
        asked = [t for t in SOURCE.tasks(split, limit=150) if "{stay}" in str(t.metadata) or "stay " in t.question]
        return {int(subjects[t.metadata["slots"]["stay"]]) for t in asked if "slots" in t.metadata}

    assert not patients("train_form") & patients("test_form")
    assert tasks == list(SOURCE.tasks("test_form", limit=25))
    assert "hourly_slope" not in {t.category for t in SOURCE.tasks("train_form", limit=60)}
