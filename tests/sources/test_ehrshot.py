"""Prediction problems: hospitals apart, labels hidden, constants below the bar; the original's layout on made-up "
"files."""

import os
import random
from pathlib import Path

import pandas as pd
import pytest

from copilot.envs.predictions import PROGRAM, Problem, fit
from copilot.envs.sources.ehrshot import SOURCE, eicu
from copilot.errors import DataError
from copilot.reward.answers import PredictionsAnswer
from copilot.reward.graders import grade

needs_data = pytest.mark.skipif(not os.environ.get("MED_COPILOT_DATA"), reason="MED_COPILOT_DATA is not set")


def made_up(count: int, seed: int) -> pd.DataFrame:
    rng = random.Random(seed)
    rows = [
        (n, rng.gauss(0, 1), rng.choice("abc"), rng.gauss(5, 1) if rng.random() < 0.8 else None) for n in range(count)
    ]
    frame = pd.DataFrame(rows, columns=["row", "x", "kind", "gap"])
    frame["label"] = [int(x + rng.gauss(0, 1) > 0.3) for x in frame["x"]]
    return frame


def run(folder: Path) -> dict[str, float]:
    world: dict[str, dict[str, float]] = {}
    exec(PROGRAM.replace("/data", str(folder)), world)  # our own program text
    return world["answer"]


def test_the_program_equals_the_hosts_model(tmp_path: Path) -> None:
    table = made_up(300, 0)
    problem = Problem(train=table[:200], test=table[200:])
    answer = problem.answer()
    assert answer is not None
    files = problem.write(tmp_path)
    assert "label" in files["train.csv"].read_text().splitlines()[0]
    assert "label" not in files["test.csv"].read_text()
    found = run(tmp_path)
    assert found == pytest.approx(fit(problem), abs=1e-6)
    assert grade(answer, found).correct
    assert not grade(answer, dict.fromkeys(found, 0.5)).correct
    assert not grade(answer, dict(list(found.items())[:-1])).correct


def test_data_that_cannot_tell_makes_no_task() -> None:
    table = made_up(300, 1)
    table["label"] = [n % 2 for n in range(300)]
    assert Problem(train=table[:200], test=table[200:]).answer() is None
    assert Problem(train=table[:10], test=table[10:]).answer() is None


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files in the layout of EHRSHOT's release, made up."""
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    monkeypatch.setenv("MED_COPILOT_HOME", str(tmp_path / "cache"))
    root, rng = tmp_path / "EHRSHOT_ASSETS", random.Random(0)
    for folder in ("benchmark/guo_icu", "benchmark/chexpert", "data", "splits"):
        (root / folder).mkdir(parents=True)
    people = pd.DataFrame({"omop_person_id": range(240)})
    people["split"] = [("train", "val", "test")[n % 3] for n in range(240)]
    people.to_csv(root / "splits/person_id_map.csv", index=False)
    sick = [rng.random() < 0.5 for _ in range(240)]
    events = [(n, "2010-01-01", "born") for n in range(240)]
    events += [(n, "2012-01-01", "SNOMED/1" if sick[n] != (rng.random() < 0.15) else "SNOMED/2") for n in range(240)]
    events += [(n, "2014-01-01", "ICU") for n in range(240) if sick[n]]
    pd.DataFrame(events, columns=["patient_id", "start", "code"]).to_csv(root / "data/ehrshot.csv", index=False)
    labels = pd.DataFrame(
        {"patient_id": range(240), "prediction_time": "2013-01-01", "label_type": "boolean", "value": sick}
    )
    labels.to_csv(root / "benchmark/guo_icu/labeled_patients.csv", index=False)
    labels.assign(value=8192).to_csv(root / "benchmark/chexpert/labeled_patients.csv", index=False)
    return root


def test_the_originals_layout(release: Path) -> None:
    tasks = list(SOURCE.tasks("test"))
    assert [task.id for task in tasks] == ["ehrshot/test/dua-guo_icu"]
    train, test = (pd.read_csv(path) for path in SOURCE.files(tasks[0]).values())
    assert (len(train), len(test)) == (80, 80)
    assert "ICU" not in test.columns, "what happened after the time of prediction is no feature"
    assert SOURCE.credentialed
    (release / "data/ehrshot.csv").unlink()
    with pytest.raises(DataError, match=r"lacks data/ehrshot\.csv"):
        list(SOURCE.tasks("test"))


def test_without_any_data_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    assert not SOURCE.credentialed
    with pytest.raises(DataError, match="EHRSHOT itself is not here"):
        list(SOURCE.tasks("test"))
    with pytest.raises(DataError, match="no folder with ehrshot's data"):
        list(SOURCE.tasks("test_form"))
    monkeypatch.delenv("MED_COPILOT_DATA")
    assert not SOURCE.credentialed


@needs_data
@pytest.mark.data
def test_hospitals_of_test_are_in_no_training_problem() -> None:
    hospital = eicu.features(eicu.folder()).set_index("row")["hospital"]
    tests = list(SOURCE.tasks("test_form"))
    assert len(tests) >= 12
    held_out = set(hospital[[int(row) for row in predictions(tests[0]).labels]])
    train = pd.read_csv(SOURCE.files(tests[0])["train.csv"])
    assert not held_out & set(hospital[train["row"]])
    for task in SOURCE.tasks("train_form", limit=4):
        rows = [*map(int, predictions(task).labels), *pd.read_csv(SOURCE.files(task)["train.csv"])["row"]]
        assert not held_out & set(hospital[rows])
    for task in tests:
        labels = predictions(task).labels
        assert not grade(task.reference.answer, dict.fromkeys(labels, 0.0)).correct
        assert not grade(task.reference.answer, {row: int(row) % 2 for row in labels}).correct


def predictions(task: object) -> PredictionsAnswer:
    answer = task.reference.answer  # type: ignore[attr-defined]
    assert isinstance(answer, PredictionsAnswer)
    return answer
