"""Two processes (gloo) take the steps of one, on the same rollouts of uneven lengths."""

import json
import multiprocessing
import socket
from pathlib import Path
from typing import Any

import pytest

RUN_CHILD = "import runpy; runpy.run_path(path)['main'](job)"


@pytest.fixture(scope="module")
def fresh() -> Any:
    """Processes whose server has imported everything and computed nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["copilot.online.loop", "copilot.policy.transformers_engine", "peft"])
    return context


def run_ranks(fresh: Any, folder: Path, size: int, job: dict[str, str]) -> list[dict[str, float]]:
    """Rank 0's figures; every rank is a process of its own."""
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


@pytest.mark.parametrize(("kind", "aggregation"), [("grpo", "token"), ("grpo", "sequence"), ("ppo", "token")])
def test_two_ranks_take_the_steps_of_one(fresh: Any, tiny: Path, tmp_path: Path, kind: str, aggregation: str) -> None:
    job = {"tiny": str(tiny), "kind": kind, "aggregation": aggregation}
    one, two = run_ranks(fresh, tmp_path, 1, job), run_ranks(fresh, tmp_path, 2, job)
    names = ["loss", "kl", "entropy", "ratio", "grad_norm"]
    names += ["value_loss", "explained_variance"] if kind == "ppo" else []
    for step, (alone, shared) in enumerate(zip(one, two, strict=True), start=1):
        assert alone["trained_tokens"] == shared["trained_tokens"]
        for name in names:
            assert shared[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-7), f"{name} of step {step}"
    assert one[0]["loss"] != pytest.approx(one[-1]["loss"], rel=1e-3), "the steps moved something"
