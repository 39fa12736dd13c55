"""The whole stage on two processes: one queue of groups, one set of weights, every attempt once."""

import asyncio
import importlib.util
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from copilot.data.store import StoreReport, read_trajectories
from copilot.policy.config import VllmConfig
from copilot.policy.vllm_server import VllmServer

from .conftest import FreshStage

STEPS, GROUPS, SIZE = 3, 4, 4
SHARDED = {"method": "full", "sharding": "fsdp"}


def run_ranks(fresh_stage: FreshStage, tmp_path: Path, **changes: Any) -> list[dict[str, float]]:
    """The steps' records of two ranks; every attempt is there once, and both have played."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    changes |= {"steps": STEPS, "groups": GROUPS, "group_size": SIZE, "dynamic_sampling": {"enabled": False}}
    changes["training"] = {"learning_rate": 1e-3, "lora": {"r": 8, "alpha": 16}} | changes["training"]
    ranks = [
        fresh_stage("grpo", "arm", env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, **changes)
        for rank in range(2)
    ]
    for process in ranks:
        process.join(timeout=600)
        assert process.exitcode == 0
    folder = tmp_path / "stage"
    steps: list[dict[str, float]] = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    assert [record["step"] for record in steps] == [1, 2, 3]
    assert all(record["episodes"] == GROUPS * SIZE for record in steps)
    report = StoreReport()
    attempts = sorted(t.attempt for t in read_trajectories(folder / "rollouts", report=report))
    assert attempts == list(range(STEPS * GROUPS * SIZE))
    assert report.duplicates == 0
    assert all((folder / "rollouts" / f"rank{rank}.jsonl").stat().st_size for rank in range(2)), "both have played"
    return steps


def engine_of(tmp_path: Path) -> str:
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (logged,) = [record for record in records if "engine" in record]
    return str(logged["engine"])


def assert_moved(folder: Path, actor: Path) -> None:
    trained, before = (load_file(str(f / "model.safetensors")) for f in (folder / "weights", actor))
    assert trained.keys() == before.keys()
    assert any((trained[name] != before[name]).any() for name in trained)


def test_two_ranks_share_rollouts_and_take_the_same_steps(fresh_stage: FreshStage, tmp_path: Path) -> None:
    run_ranks(fresh_stage, tmp_path, training={"method": "lora"})
    assert engine_of(tmp_path) == "replicated"
    trained = load_file(str(tmp_path / "stage" / "weights" / "adapter_model.safetensors"))
    assert any(tensor.count_nonzero() for name, tensor in trained.items() if "lora_B" in name)


def test_weights_in_shards_are_served_whole(fresh_stage: FreshStage, actor: Path, tmp_path: Path) -> None:
    run_ranks(fresh_stage, tmp_path, training=SHARDED)
    assert engine_of(tmp_path) == "fsdp"
    assert_moved(tmp_path / "stage", actor)


@pytest.fixture
def server(actor: Path, tmp_path: Path) -> Iterator[VllmServer]:
    config = VllmConfig(
        dtype="float32", max_model_len=512, max_num_seqs=32, max_lora_rank=0, full_weights=True, weight_sync="gloo"
    )
    started = VllmServer(config, model=str(actor), device=None, log_folder=tmp_path)
    asyncio.run(started.start())
    yield started
    asyncio.run(started.stop())


@pytest.mark.vllm
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_shards_reach_a_server_that_the_ranks_share_by_broadcast(
    server: VllmServer, fresh_stage: FreshStage, actor: Path, tmp_path: Path
) -> None:
    policy = {"type": "vllm", "url": server.url, "dtype": "float32", "max_model_len": 512, "weight_sync": "gloo"}
    steps = run_ranks(fresh_stage, tmp_path, training=SHARDED, policy=policy)
    assert all(record["server_difference"] < 1e-3 for record in steps), "what is served is what is trained"
    assert_moved(tmp_path / "stage", actor)
    assert not list((tmp_path / "stage").glob("served/*")), "nothing went by way of a disk"
