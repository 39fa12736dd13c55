"""Statistics over packaged tables: published and independent values, splits that share nothing, no cheap guess."""

import importlib.metadata
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from copilot.envs.sources.biostat import SOURCE, tables
from copilot.envs.sources.biostat.analyses import ANALYSES, kaplan_meier, log_rank
from copilot.envs.sources.biostat.tables import PACKAGES, TABLES, csv_file, frame
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.graders import grade


def installed(package: str) -> bool:
    return any(d.name == package for d in importlib.metadata.distributions())


pytestmark = pytest.mark.skipif(not all(map(installed, PACKAGES)), reason=f"needs {', '.join(PACKAGES)}")


def take(split: str, limit: int, seed: int = 0) -> list[Task]:
    return list(SOURCE.tasks(split, limit=limit, seed=seed))


def run(task: Task) -> Any:
    files = SOURCE.files(task)
    text = task.reference.program
    for name, path in files.items():
        text = text.replace(f"/data/{name}", str(path))
    world: dict[str, Any] = {}
    exec(text, world)  # our own program text
    return world["answer"]


def test_tables_are_whole() -> None:
    rows = {"gbsg2": 686, "lung": 228, "actg175": 2139, "kidney": 863, "breast": 569, "diabetes": 442, "heart": 69}
    for table in TABLES:
        data = frame(table.name)
        assert len(data) == rows.get(table.name, 20190)
        named = {c.name for c in table.numbers} | {g.column for g in table.groups} | set((table.survival or ())[:2])
        assert named <= set(data.columns)
        for group in table.groups:
            assert {value for value in group.labels if (data[group.column] == value).any()} == set(group.labels)


def test_freireichs_remissions() -> None:
    """6-mercaptopurine against placebo (Freireich 1963): survival at 6 weeks 0.857, log-rank 16.79 in textbooks."""
    times = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    events = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    when = pd.Series([*times, *placebo], dtype=float)
    happened = pd.Series([*events, *([1] * 21)], dtype=float)
    treated = pd.Series([True] * 21 + [False] * 21)
    assert kaplan_meier(when[treated], happened[treated], 6) == pytest.approx(18 / 21)
    assert kaplan_meier(when[treated], happened[treated], 22) == pytest.approx(0.5378, abs=1e-4)
    assert log_rank(when, happened, treated) == pytest.approx(16.793, abs=1e-3)


def test_programs_agree_with_the_host() -> None:
    tasks = [*take("train", 45), *take("test_unseen", 16)]
    wrong = [task.id for task in tasks if not grade(task.reference.answer, run(task)).correct]
    assert wrong == []
    assert {t.metadata.get("analysis") for t in tasks} == {a.name for a in ANALYSES} | {None}


def test_an_empty_margin_has_no_statistic() -> None:
    two_groups = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "g": [0, 0, 1, 1]})
    slots = {"x_column": "x", "g_column": "g", "g_value": 1, "cut": 9.0}
    ratios = [a for a in ANALYSES if a.name in ("chi_squared", "odds_ratio", "risk_ratio")]
    assert len(ratios) == 3
    with np.errstate(all="ignore"):
        assert not any(math.isfinite(a.compute(two_groups, slots)) for a in ratios)


def test_streams_are_seeded_prefixes_and_splits_are_apart() -> None:
    tasks = take("train", 80, 3)
    assert tasks[:30] == take("train", 30, 3)
    assert len({(t.context, t.question) for t in tasks}) == 80
    assert not {t.question + t.context for t in take("train", 150)} & {
        t.question + t.context for t in take("test_seen", 80)
    }
    unseen = {t.metadata.get("analysis") for t in take("test_unseen", 40)} - {None}
    assert unseen == {a.name for a in ANALYSES if a.held_out}
    assert not unseen & {t.metadata.get("analysis") for t in tasks}
    assert sum("table" not in t.metadata for t in tasks) == 20


def test_constants_do_not_pass() -> None:
    tasks = take("test_seen", 120)
    for constant in (0, 1, 2, 10, 0.5, 0.05, 100):
        assert sum(grade(t.reference.answer, constant).correct for t in tasks) <= 0.02 * len(tasks)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MED_COPILOT_HOME", str(tmp_path))

    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(tables.importlib.metadata, "distribution", absent)
    csv_file.cache_clear()
    with pytest.raises(DataError, match=r"(?s)a table of lifelines.*pip install lifelines"):
        SOURCE.tasks("train")
    csv_file.cache_clear()
