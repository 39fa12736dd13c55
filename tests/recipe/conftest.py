"""A recipe over the test stages, in a folder of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import copilot.stages

FAKES = Path(__file__).parent / "fakes"


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test stages are stages, here and in the processes started from here."""
    monkeypatch.setattr(copilot.stages, "__path__", [*copilot.stages.__path__, str(FAKES / "stages")])
    monkeypatch.setenv("PYTHONPATH", str(FAKES))


@pytest.fixture
def write_recipe(tmp_path: Path, fakes: None) -> Callable[..., Path]:
    """Write a recipe of the given stages; keywords are its other keys."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")

    def write(*stages: dict[str, Any], **keys: Any) -> Path:
        raw = {"name": "demo", "model": {"path": str(model)}, "output": str(tmp_path / "runs"), **keys}
        path = tmp_path / "demo.yaml"
        path.write_text(yaml.safe_dump({**raw, "stages": list(stages)}, sort_keys=False))
        return path

    return write


@pytest.fixture
def med_copilot(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call the console script; returns what it said."""

    def call(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from copilot.cli import main; main()", *map(str, args)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **env}, timeout=600, check=False
        )

    return call


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited 30 s in vain")


def _running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] not in "ZX"


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Wait until a condition holds."""
    return _wait_for


@pytest.fixture
def running() -> Callable[[int], bool]:
    """Whether a process lives."""
    return _running
