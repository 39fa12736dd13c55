"""Synchronous against overlapped training with a simulated server: sampling and training take equal time.

    python benchmarks/overlap.py

The loop, the collector, the choice of groups, sandboxes and rewards are the real ones; the server answers after a
fixed time, and an update takes a fixed time. What is measured is how much of the waiting the overlap hides.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _common import ROOT, write_result
from safetensors.torch import save_file

from copilot.envs.task import Reference, Task
from copilot.models.tiny import tiny_tokenizer
from copilot.online.collector import Collector
from copilot.online.config import GrpoConfig
from copilot.online.curriculum import Curriculum
from copilot.online.estimators import group_relative
from copilot.online.loop import take_step
from copilot.online.ranks import Ranks
from copilot.online.rows import TrainRow
from copilot.online.session import Algorithm, Session
from copilot.online.state import Progress
from copilot.policy.base import Generation, GenerationRequest, Policy
from copilot.policy.versions import VersionedPolicy
from copilot.recipe.schema import ModelConfig
from copilot.reward.answers import IntegerAnswer
from copilot.stages.base import StageContext


class SimulatedServer(Policy):
    """Answers every turn after ``seconds``; every third answer is right."""

    def __init__(self, seconds: float) -> None:
        self.tokenizer, self._seconds, self.label, self.context_length = tiny_tokenizer(), seconds, "simulated", 4096

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to release."""

    async def load_adapter(self, name: str, path: str) -> None:
        """Takes no time."""

    async def unload_adapter(self, name: str) -> None:
        """Takes no time."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """A submission."""
        await asyncio.sleep(self._seconds)
        text = f"```submit\n{request.seed % 3}\n```"
        ids = [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]
        return Generation(text=text, token_ids=ids, logprobs=[-1.0] * len(ids))


class SimulatedTraining:
    """Stands in for model and updater: an update takes ``seconds`` of which the processor has nothing."""

    critic = None

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def share(self, rows: Sequence[TrainRow]) -> list[TrainRow]:
        """All rows."""
        return list(rows)

    def run(self, step: int, rows: Sequence[TrainRow], mine: Sequence[TrainRow]) -> dict[str, float]:
        """An update."""
        time.sleep(self._seconds)
        return {}

    def fitted(self, step: int) -> None:
        """There is no critic's head."""

    def save_policy(self, folder: Path, *, writes: bool = True) -> None:
        """An adapter with an effect."""
        folder.mkdir(parents=True)
        save_file({"m.lora_B.weight": torch.ones(1, 1)}, str(folder / "adapter_model.safetensors"))


def run(bound: int, options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Seconds for all steps, and the mean staleness of what was trained on."""
    config = GrpoConfig.model_validate(
        {
            "id": "rl",
            "suite": "starter",
            "groups": options.groups,
            "group_size": options.group_size,
            "steps": options.steps,
            "staleness": {"bound": bound},
            "dynamic_sampling": {"enabled": False},
            "training": {"save_every_steps": 10**6},
            "rollout": {
                "max_turns": 1,
                "concurrency": options.groups * options.group_size,
                "prompt": {"brief": True, "context": False},
                "sampling": {"temperature": 1.0},
            },
        }
    )
    task = Task(
        id="arm/train/0",
        source="clinical_calc",
        split="train",
        question="Pick an arm.",
        reference=Reference(answer=IntegerAnswer(value=1)),
    )
    training: Any = SimulatedTraining(options.seconds)
    ranks = Ranks()
    policy = VersionedPolicy(SimulatedServer(options.seconds))
    collector = Collector(config, {task.id: task}, policy, ranks, folder=folder / "rollouts", seed=options.seed)
    session = Session(
        config=config,
        ctx=StageContext(folder, folder, {}, ModelConfig(path="tiny"), options.seed),
        algorithm=Algorithm(group_relative("std")),
        ranks=ranks,
        model=training,
        updater=training,
        collector=collector,
        curriculum=Curriculum({task.id: ""}, config.curriculum, seed=options.seed, file=folder / "deals.jsonl"),
        tasks={task.id: task},
        tokenizer=tiny_tokenizer(),
        progress=Progress(),
    )
    collector.resume(cursor=0, dealt=0)
    collector.run(policy.start())
    session.publish(0)
    collector.begin()
    began = time.perf_counter()
    try:
        while session.progress.step < config.steps:
            take_step(session)
        seconds = time.perf_counter() - began
    finally:
        session.close()
    records = [json.loads(line) for line in (folder / "steps.jsonl").read_text(encoding="utf-8").splitlines()]
    return seconds, sum(record["staleness"] for record in records) / config.steps


def main() -> None:
    """Both loops, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of sampling, and of training, per step")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--group-size", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    for bound in (0, 1):
        with tempfile.TemporaryDirectory() as folder:
            seconds, stale = run(bound, options, Path(folder))
        rows.append({"staleness_bound": bound, "seconds": seconds, "steps": options.steps, "mean_staleness": stale})
    summary = {
        "overlap_speedup_simulated": rows[0]["seconds"] / rows[1]["seconds"],
        "mean_staleness": rows[1]["mean_staleness"],
    }
    write_result("overlap", summary=summary, rows=rows, seed=options.seed, results=ROOT / "benchmarks" / "results")


if __name__ == "__main__":
    main()
