"""Two processes (gloo) take the steps of one, on the same rollouts of uneven lengths; in shards of the weights too."""

import json
import multiprocessing
import socket
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

RUN_CHILD = "import runpy; runpy.run_path(path)['main'](job)"


@pytest.fixture(scope="module")
def fresh() -> Any:
    """Processes whose server has imported everything and computed nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["copilot.online.loop", "copilot.policy.transformers_engine", "peft"])
    return context


def run_ranks(fresh: Any, folder: Path, size: int, job: dict[str, str]) -> list[dict[str, float]]:
    """Rank 0's figures; every rank is a process of its own, and what they save is in ``folder``."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes, results = [], [folder / f"{size}-{rank}.json" for rank in range(size)]
    for rank, result in enumerate(results):
        env = {"ACCELERATE_USE_CPU": "true"}
        if size > 1:
            env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        mine = job | {"env": json.dumps(env), "result": str(result)}
        scope = {"path": str(Path(__file__).with_name("rank_child.py")), "job": mine}
        processes.append(fresh.Process(target=exec, args=(RUN_CHILD, scope)))
        processes[-1].start()
    for process in processes:
        process.join(timeout=600)
        assert process.exitcode == 0
    found = [json.loads(result.read_text()) for result in results]
    assert all(other == found[0] for other in found), "all ranks know the same figures"
    return found[0]


@pytest.mark.parametrize(
    ("kind", "aggregation", "weights"),
    [
        ("grpo", "token", "lora"),
        ("grpo", "sequence", "lora"),
        ("ppo", "token", "lora"),
        ("grpo", "token", "full-sharded"),
        ("ppo", "token", "lora-sharded"),
        ("ppo", "token", "full-sharded"),
        ("ppo-frozen", "token", "lora-sharded"),
        ("ppo-frozen", "token", "full-sharded"),
        ("grpo", "token", "full-zero2"),
        ("grpo", "token", "full-zero3"),
        ("ppo", "token", "lora-zero2"),
        ("ppo", "token", "lora-zero3"),
        ("ppo", "token", "full-zero3"),
        ("ppo-frozen", "token", "lora-zero3"),
    ],
)
def test_two_ranks_take_the_steps_of_one(
    fresh: Any, tiny: Path, tmp_path: Path, kind: str, aggregation: str, weights: str
) -> None:
    if "zero" in weights:
        pytest.importorskip("deepspeed")
    job = {"tiny": str(tiny), "kind": kind, "aggregation": aggregation, "weights": weights}
    one, two = run_ranks(fresh, tmp_path / "one", 1, job), run_ranks(fresh, tmp_path / "two", 2, job)
    names = ["loss", "kl", "entropy", "ratio", "grad_norm"]
    names += [] if kind == "grpo" else ["value_loss", "explained_variance"]
    fitted = [step.get("critic_tasks", 0) for step in one]
    assert fitted == {"grpo": [0, 0, 0], "ppo": [5, 0, 0], "ppo-frozen": [5, 10, 15]}[kind]
    if kind == "ppo" and weights.startswith("lora-zero"):  # one engine has both adapters, and one norm of both
        names.remove("grad_norm")
    for step, (alone, shared) in enumerate(zip(one, two, strict=True), start=1):
        assert alone.keys() == shared.keys()
        assert alone.get("trained_tokens") == shared.get("trained_tokens")
        for name in [name for name in names if name in alone]:
            assert shared[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-7), f"{name} of step {step}"
    for file in (tmp_path / "one").rglob("*.safetensors"):
        other = load_file(str(tmp_path / "two" / file.relative_to(tmp_path / "one")))
        for name, alone in load_file(str(file)).items():
            # Adam turns rounding in a gradient near 0 into a whole step, so single elements may differ.
            assert (other[name] - alone).norm() <= 2e-3 * alone.norm() + 1e-6, f"{name} in {file.name}"
    assert one[1]["loss"] != pytest.approx(one[-1]["loss"], rel=1e-3), "the steps moved something"
