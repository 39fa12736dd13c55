"""The whole stage on two processes: one queue of groups, one set of weights, every attempt once."""

import json
import socket
from pathlib import Path

import pytest
from safetensors.torch import load_file

from copilot.data.store import StoreReport, read_trajectories

from .conftest import FreshStage

STEPS, GROUPS, SIZE = 3, 4, 4


@pytest.mark.parametrize("weights", [{"method": "lora"}, {"method": "full", "sharding": "fsdp"}])
def test_two_ranks_share_rollouts_and_take_the_same_steps(
    weights: dict[str, str], fresh_stage: FreshStage, actor: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    changes = {"steps": STEPS, "groups": GROUPS, "group_size": SIZE, "dynamic_sampling": {"enabled": False}}
    changes |= {"training": {"learning_rate": 1e-3, "lora": {"r": 8, "alpha": 16}} | weights}
    ranks = [
        fresh_stage("grpo", "arm", env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, **changes)
        for rank in range(2)
    ]
    for process in ranks:
        process.join(timeout=600)
        assert process.exitcode == 0
    folder = tmp_path / "stage"
    steps = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    assert [record["step"] for record in steps] == [1, 2, 3]
    assert all(record["episodes"] == GROUPS * SIZE for record in steps)
    report = StoreReport()
    attempts = sorted(t.attempt for t in read_trajectories(folder / "rollouts", report=report))
    assert attempts == list(range(STEPS * GROUPS * SIZE))
    assert report.duplicates == 0
    assert all((folder / "rollouts" / f"rank{rank}.jsonl").stat().st_size for rank in range(2)), "both have played"
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (logged,) = [record for record in records if "engine" in record]
    assert logged["engine"] == ("fsdp" if "sharding" in weights else "replicated")
    if weights["method"] == "lora":
        trained = load_file(str(folder / "weights" / "adapter_model.safetensors"))
        assert any(tensor.count_nonzero() for name, tensor in trained.items() if "lora_B" in name)
    else:
        trained, before = (load_file(str(f / "model.safetensors")) for f in (folder / "weights", actor))
        assert trained.keys() == before.keys()
        assert any((trained[name] != before[name]).any() for name in trained)
