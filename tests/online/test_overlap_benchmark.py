"""The benchmark of the overlapped loop: its simulated server and model still fit the real loop."""

import argparse
import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("bound", [0, 1])
def test_it_plays_and_trains(bound: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    overlap = importlib.import_module("overlap")
    options = argparse.Namespace(seconds=0.05, steps=4, groups=2, group_size=2, seed=0)
    _, staleness = overlap.run(bound, options, tmp_path)
    assert 0 <= staleness <= bound
    assert (tmp_path / "steps.jsonl").read_text(encoding="utf-8").count("\n") == options.steps
