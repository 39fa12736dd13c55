"""The guard lets a policy on that is no worse, and ends the run on one that is."""

import json
from pathlib import Path
from typing import Any

import pytest

from copilot.errors import DataError
from copilot.recipe.schema import ModelConfig
from copilot.stages.base import StageContext
from copilot.stages.guard import GuardConfig, RegressionError, run


def guarded(tmp_path: Path, points: float, **config: Any) -> dict[str, Any]:
    lift = {"points": points, "low": points - 5, "high": points + 5, "tasks": 80}
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"comparisons": [{"old": "sft", "new": "dpo", "overall": lift}]}))
    ctx = StageContext(
        folder=tmp_path / "guard",
        run_folder=tmp_path,
        outputs={"check": {"evaluation": str(path)}, "dpo": {"weights": "/w", "kind": "lora"}},
        model=ModelConfig(path="tiny"),
        seed=0,
    )
    raw = {"id": "guard", "evaluation": "check", "old": "sft", "new": "dpo"} | config
    return run(GuardConfig.model_validate(raw), ctx)


@pytest.mark.parametrize(("points", "tolerance"), [(3.0, 0.0), (0.0, 0.0), (-1.5, 2.0)])
def test_what_is_no_worse_goes_on(tmp_path: Path, points: float, tolerance: float) -> None:
    found = guarded(tmp_path, points, tolerance=tolerance)
    assert (found["weights"], found["kind"]) == ("/w", "lora")


@pytest.mark.parametrize(("points", "tolerance"), [(-0.1, 0.0), (-2.5, 2.0)])
def test_a_regression_ends_the_run(tmp_path: Path, points: float, tolerance: float) -> None:
    with pytest.raises(RegressionError, match="dpo over sft"):
        guarded(tmp_path, points, tolerance=tolerance)


def test_what_was_not_compared_cannot_be_guarded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no comparison 'dpo over base'"):
        guarded(tmp_path, 1.0, old="base")
