"""The whole stage on two processes: one queue of groups, one set of weights, every attempt once."""

import asyncio
import importlib.util
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from copilot.data.store import StoreReport, read_trajectories
from copilot.policy.config import VllmConfig
from copilot.policy.vllm_server import VllmServer

from .conftest import FreshStage, stage_config

STEPS, GROUPS, SIZE = 3, 4, 4
FSDP = {"method": "full", "sharding": "fsdp"}
ZERO2, ZERO3 = ({"method": "full", "deepspeed": engine} for engine in ("zero2", "zero3"))
NEEDS_DEEPSPEED = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed")


def start_ranks(fresh_stage: FreshStage, count: int, **changes: Any) -> list[Any]:
    """The stage, started on ``count`` processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"ACCELERATE_USE_CPU": "true", "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    changes |= {"steps": STEPS, "groups": GROUPS, "group_size": SIZE, "dynamic_sampling": {"enabled": False}}
    changes["training"] = {"learning_rate": 1e-3, "lora": {"r": 8, "alpha": 16}} | changes["training"]
    # A group at a time, so that no process takes them all while the other waits for the machine.
    changes["rollout"] = stage_config("grpo", "")["rollout"] | {"concurrency": SIZE}
    return [
        fresh_stage("grpo", "arm", env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, **changes)
        for rank in range(count)
    ]


def finish(ranks: list[Any], folder: Path) -> list[dict[str, float]]:
    """The steps' records when all have ended; every attempt is there once."""
    for process in ranks:
        process.join(timeout=600)
        assert process.exitcode == 0
    steps = records(folder)
    assert [record["step"] for record in steps] == [1, 2, 3]
    assert all(record["episodes"] == GROUPS * SIZE for record in steps)
    report = StoreReport()
    attempts = sorted(t.attempt for t in read_trajectories(folder / "rollouts", report=report))
    assert attempts == list(range(STEPS * GROUPS * SIZE))
    assert report.duplicates == 0
    return steps


def run_ranks(fresh_stage: FreshStage, tmp_path: Path, **changes: Any) -> list[dict[str, float]]:
    """The steps' records of two ranks, both of which have played."""
    folder = tmp_path / "stage"
    steps = finish(start_ranks(fresh_stage, 2, **changes), folder)
    assert all((folder / "rollouts" / f"rank{rank}.jsonl").stat().st_size for rank in range(2)), "both have played"
    return steps


def records(folder: Path) -> list[dict[str, float]]:
    path = folder / "steps.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


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


@pytest.mark.parametrize(
    ("shards", "engine"),
    [
        (FSDP, "fsdp"),
        pytest.param(ZERO2, "deepspeed-zero2", marks=NEEDS_DEEPSPEED),
        pytest.param(ZERO3, "deepspeed-zero3", marks=NEEDS_DEEPSPEED),
    ],
)
def test_weights_in_shards_are_served_whole(
    fresh_stage: FreshStage, actor: Path, tmp_path: Path, shards: dict[str, str], engine: str
) -> None:
    run_ranks(fresh_stage, tmp_path, training=shards)
    assert engine_of(tmp_path) == engine
    assert_moved(tmp_path / "stage", actor)


@pytest.mark.parametrize(
    ("shards", "before", "after"),
    [
        (FSDP, 2, 1),
        (FSDP, 1, 2),
        pytest.param(ZERO3, 2, 1, marks=NEEDS_DEEPSPEED),
        pytest.param(ZERO3, 1, 2, marks=NEEDS_DEEPSPEED),
    ],
)
def test_killed_in_shards_it_goes_on_with_another_number_of_processes(
    fresh_stage: FreshStage, actor: Path, tmp_path: Path, shards: dict[str, str], before: int, after: int
) -> None:
    folder = tmp_path / "stage"
    first = start_ranks(fresh_stage, before, training=shards)
    deadline = time.monotonic() + 300
    while len(records(folder)) < STEPS - 1 and first[0].is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    for process in first:
        process.kill()
        process.join()
    kept, *others = records(folder)
    assert len(others) == 1, "it ended before it could be killed"
    steps = finish(start_ranks(fresh_stage, after, training=shards), folder)
    assert steps[0] == kept, "seconds and all: from its checkpoint, not played again"
    assert_moved(folder, actor)


@pytest.fixture(scope="module")
def server(actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """One that outlives the trainers that send their weights to it."""
    config = VllmConfig(
        dtype="float32", max_model_len=512, max_num_seqs=32, max_lora_rank=0, full_weights=True, weight_sync="gloo"
    )
    started = VllmServer(config, model=str(actor), device=None, log_folder=tmp_path_factory.mktemp("server"))
    asyncio.run(started.start())
    yield started
    asyncio.run(started.stop())


@pytest.mark.vllm
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.parametrize("shards", [FSDP, pytest.param(ZERO3, marks=NEEDS_DEEPSPEED)])
def test_shards_reach_a_server_that_the_ranks_share_by_broadcast(
    server: VllmServer, fresh_stage: FreshStage, actor: Path, tmp_path: Path, shards: dict[str, str]
) -> None:
    policy = {"type": "vllm", "url": server.url, "dtype": "float32", "max_model_len": 512, "weight_sync": "gloo"}
    steps = run_ranks(fresh_stage, tmp_path, training=shards, policy=policy)
    assert all(record["server_difference"] < 1e-3 for record in steps), "what is served is what is trained"
    assert_moved(tmp_path / "stage", actor)
    assert not list((tmp_path / "stage").glob("served/*")), "nothing went by way of a disk"
