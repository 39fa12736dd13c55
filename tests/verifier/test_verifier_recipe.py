"""The verifier's stages as a recipe with the tiny model: rows, training, scores, figures, page; again as a no-op."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from copilot.commands.score import COMMAND
from copilot.data.store import TrajectoryWriter
from copilot.data.trajectory import Trajectory
from copilot.models.tiny import make_tiny

RECIPE: dict[str, Any] = {
    "name": "verifier",
    "model": {"path": "", "dtype": "float32"},
    "stages": [
        {
            "id": "rows",
            "type": "build",
            "trajectories": ["./train"],
            "format": "verifier",
            "filters": [{"type": "part", "part": "train", "share": 0.3}],
        },
        {
            "id": "held_out",
            "type": "build",
            "trajectories": ["./train"],
            "format": "verifier",
            "balance": "none",
            "filters": [{"type": "part", "part": "validation", "share": 0.3}],
        },
        {
            "id": "verifier",
            "type": "verifier",
            "rows": "rows",
            "validation": "held_out",
            "verifier": {"max_tokens": 256},
            "training": {"learning_rate": 1e-2, "epochs": 6, "batch_size": 4, "lora": {"r": 8, "alpha": 16}},
        },
        {"id": "scores", "type": "score", "verifier": "verifier", "trajectories": ["./test"]},
        {"id": "verification", "type": "verify", "scores": "scores", "k": 4, "results": "results/verifier.json"},
        {"id": "report", "type": "report", "verification": "verification", "builds": ["rows", "held_out"]},
    ],
}


def run(folder: Path) -> str:
    """``med-copilot run verifier.yaml``; returns what it said."""
    command = [sys.executable, "-c", "from copilot.cli import main; main()", "run", "verifier.yaml"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_recipe_from_rows_to_page(tmp_path: Path, episode: Callable[..., Trajectory]) -> None:
    for name, tasks in {"train": range(14), "test": range(100, 106)}.items():
        with TrajectoryWriter(tmp_path / name / "rank0.jsonl") as writer:
            for task in tasks:
                for attempt in range(4):
                    writer.append(episode(task, attempt, right=(task + attempt) % 3 == 0))
    recipe = RECIPE | {"model": {"path": str(make_tiny(tmp_path / "tiny")), "dtype": "float32"}}
    (tmp_path / "verifier.yaml").write_text(yaml.safe_dump(recipe))
    run(tmp_path)
    figures = json.loads((tmp_path / "results" / "verifier.json").read_text())["summary"]
    assert figures["within_task_auc"] > 0.9
    assert figures["headroom_captured_at_4"] > 0.8
    assert figures["tasks"] == 6
    page = (tmp_path / "runs" / "verifier" / "report.html").read_text()
    assert "Choosing one of 4 attempts" in page
    assert "Reliability of the scores" in page
    assert "nothing to do" in run(tmp_path)
    (weights,) = (str(path) for path in (tmp_path / "runs" / "verifier").glob("verifier-*/weights"))
    out, picks = tmp_path / "scores.jsonl", tmp_path / "picks.jsonl"
    arguments = [str(tmp_path / "test"), "--verifier", weights, "--out", str(out), "--picks", str(picks)]
    said = CliRunner().invoke(COMMAND, arguments, catch_exceptions=False).output
    assert "24 scored, 0 there already" in said
    assert "0 scored, 24 there already" in CliRunner().invoke(COMMAND, arguments, catch_exceptions=False).output
    chosen = [json.loads(line) for line in picks.read_text().splitlines()]
    assert len(chosen) == 6
    assert sum(line["answer"] == "True" for line in chosen) >= 5
