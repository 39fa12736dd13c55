"""kill -9 in the middle of a stage: it goes on with the same groups, and what is on disk decides the rest."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from copilot.data.store import read_trajectories

from .conftest import FreshStage

STEPS = 5
CHANGES: dict[str, Any] = {"steps": STEPS, "group_size": 4, "curriculum": {"weight": 0.5}}


def records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "stage" / "steps.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def lines(folder: Path) -> list[bytes]:
    return [line for path in (folder / "stage" / "rollouts").glob("*.jsonl") for line in path.read_bytes().split(b"\n")]


def kill_after(process: Any, folder: Path, episodes: int) -> None:
    deadline = time.monotonic() + 300
    while len(lines(folder)) <= episodes and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.is_alive(), "it ended before it could be killed"
    process.kill()
    process.join()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("grpo", {"training": {"save_every_steps": 2}}), ("ppo", {}), ("ppo", {"critic": {"trunk": "frozen"}})],
    ids=["grpo", "ppo", "ppo-frozen"],
)
def test_killed_twice_it_ends_with_every_step_and_every_episode_once(
    fresh_stage: FreshStage, kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    def start() -> Any:
        return fresh_stage(kind, "arm", **CHANGES | changes)

    kept: list[bytes] = []
    for episodes in (9, 21):
        kill_after(start(), tmp_path, episodes)
        now = lines(tmp_path)
        assert set(kept) <= set(now)
        kept = now[:-1] if now and now[-1] else now
    before = {record["step"]: record for record in records(tmp_path)}
    process = start()
    process.join(timeout=600)
    assert process.exitcode == 0
    found = records(tmp_path)
    assert [record["step"] for record in found] == list(range(1, STEPS + 1))
    for step, record in before.items():
        again = found[step - 1]
        same = [name for name in record if name.split("/")[0] not in ("seconds", "tokens_per_second", "memory_gb")]
        assert [again[name] for name in same] == [record[name] for name in same], f"step {step} from disk is the same"
    if "critic" in changes:
        tasks = [record["critic_tasks"] for record in found]
        assert tasks == [tasks[0] * step for step in range(1, STEPS + 1)], "its head is set from every step's tasks"
    attempts = [t.attempt for t in read_trajectories(tmp_path / "stage" / "rollouts")]
    assert len(set(attempts)) == len(attempts)
    used = max(attempts) // 4 + 1
    assert sorted(attempts) == list(range(used * 4)), "no group is half played, none left out"
    assert (tmp_path / "stage" / "weights" / "adapter_model.safetensors").is_file()
