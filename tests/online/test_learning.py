"""Both algorithms solve a two-armed bandit and a small task that needs the sandbox, end to end."""

from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from .conftest import RunOnline

PPO: dict[str, Any] = {"critic": {"learning_rate": 6e-3, "lora": {"r": 8, "alpha": 16}}}

FROZEN: dict[str, Any] = {"critic": {"trunk": "frozen"}}


@pytest.mark.parametrize("suite", ["arm", "cell"])
@pytest.mark.parametrize(
    ("kind", "changes"), [("grpo", {}), ("ppo", PPO), ("ppo", FROZEN)], ids=["grpo", "ppo", "ppo-frozen"]
)
def test_it_learns(run_online: RunOnline, tmp_path: Path, kind: str, changes: dict[str, Any], suite: str) -> None:
    steps = run_online(kind, suite, steps=14, **changes)
    assert [record["step"] for record in steps] == list(range(1, 15))
    assert steps[0]["solved"] < 0.7
    assert mean(record["solved"] for record in steps[-3:]) > 0.75, "chance is 1/2 and 1/3"
    weights = tmp_path / "stage" / "weights"
    assert (weights / "adapter_model.safetensors").is_file()
    assert not [path for path in weights.iterdir() if path.is_dir()], "neither critic nor reference is exported"
