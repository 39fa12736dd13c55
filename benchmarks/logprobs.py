"""Are the log-probabilities that come with sampled tokens those a trainer computes for the same tokens?

Plays real episodes (several turns, sandbox on) with SmolLM2-135M-Instruct served by vLLM in its serving precision, at
temperatures 1 and 0.6; then, for every recorded training row, one plain float32 forward pass in transformers, logits
divided by the temperature. Ids and masks are compared with what went over the wire, token by token.

    python benchmarks/logprobs.py [--model NAME] [--dtype bfloat16] [--tokens 1000]
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import write_result
from rich.progress import track

from copilot.data.store import TrajectoryWriter, read_trajectories
from copilot.data.trajectory import TokenRow, Trajectory
from copilot.envs.sources.base import get_source
from copilot.models.fetch import resolve_model
from copilot.policy.base import Generation, GenerationRequest, SamplingParams
from copilot.policy.config import VllmConfig
from copilot.policy.vllm_engine import VllmPolicy
from copilot.rollout.config import PromptConfig, RolloutConfig
from copilot.rollout.engine import Job, run_jobs

SEED = 0
LIMITS = {"mean_abs_diff": 0.06, "p99_abs_diff": 0.30, "abs_signed_mean": 0.005}


class RecordingPolicy(VllmPolicy):
    """The served policy; remembers what each turn was asked and answered."""

    wire: list[tuple[list[int], list[int]]]

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn and keep its ids."""
        generation = await super().generate(request)
        self.wire.append((list(request.prompt_ids or ()), list(generation.token_ids or ())))
        return generation


async def sample(options: argparse.Namespace, temperature: float, folder: Path) -> RecordingPolicy:
    """Play episodes at ``temperature`` into ``folder`` until enough tokens were sampled."""
    config = VllmConfig(dtype=options.dtype, max_num_seqs=16, max_lora_rank=0)
    policy = RecordingPolicy(config, model=resolve_model(options.model), device=None, log_folder=folder / "logs")
    policy.wire = []
    play = RolloutConfig(
        prompt=PromptConfig(examples=1),
        max_turns=3,
        concurrency=16,
        sampling=SamplingParams(temperature=temperature, max_tokens=96),
    )
    await policy.start()
    try:
        tasks = list(get_source("clinical_calc").tasks("train", limit=16 * 4, seed=SEED))
        with TrajectoryWriter(folder / "rank0.jsonl") as writer:
            for start in range(0, len(tasks), 16):
                jobs = [Job(task, 0) for task in tasks[start : start + 16]]
                await run_jobs(jobs, policy=policy, adapter=None, label="base", config=play, writer=writer, seed=SEED)
                if sum(len(sampled) for _, sampled in policy.wire) >= options.tokens:
                    break
    finally:
        await policy.close()
    return policy


def exact(trajectories: Sequence[Trajectory], wire: Sequence[tuple[list[int], list[int]]]) -> bool:
    """Whether every recorded span is a turn as it went over the wire, its prompt included, and every turn is there."""
    recorded = [
        (list(row.ids[: span.start]), list(row.ids[span.start : span.end]))
        for trajectory in trajectories
        for row in trajectory.rows
        for span in row.spans
    ]
    masks = all(
        set(np.flatnonzero(row.mask).tolist()) == {i for span in row.spans for i in range(span.start, span.end)}
        for trajectory in trajectories
        for row in trajectory.rows
    )
    return masks and sorted(recorded) == sorted(wire)


@torch.inference_mode()
def trainer_differences(model: Any, row: TokenRow) -> np.ndarray:
    """Trainer's minus server's log-probability for each sampled token of a row."""
    ids = torch.tensor([row.ids])
    logprobs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0, :-1].float() / row.temperature, dim=-1)
    trained = logprobs.gather(1, ids[0, 1:, None])[:, 0].double().numpy()
    sampled = np.asarray(row.mask[1:], dtype=bool)
    return np.asarray(trained[sampled] - np.asarray(row.logprobs)[1:][sampled])


def measure(options: argparse.Namespace, model: Any, temperature: float) -> dict[str, float | str | bool]:
    """The table's row for one temperature."""
    with tempfile.TemporaryDirectory() as name:
        policy = asyncio.run(sample(options, temperature, Path(name)))
        trajectories = list(read_trajectories(Path(name) / "rank0.jsonl"))
    rows = [row for trajectory in trajectories for row in trajectory.rows]
    difference = np.concatenate([trainer_differences(model, row) for row in track(rows, f"trainer, T={temperature}")])
    return {
        "temperature": temperature,
        "server": f"vLLM {options.dtype}",
        "trainer": "transformers float32",
        "episodes": len(trajectories),
        "turns": sum(len(row.spans) for row in rows),
        "tokens": len(difference),
        "mean_abs_diff": float(np.abs(difference).mean()),
        "p99_abs_diff": float(np.quantile(np.abs(difference), 0.99)),
        "signed_mean": float(difference.mean()),
        "ids_and_masks_exact": exact(trajectories, policy.wire),
    }


def main() -> int:
    """Measure both temperatures; exit status 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--tokens", type=int, default=1500, help="sampled tokens per temperature, at least")
    options = parser.parse_args()
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(resolve_model(options.model), dtype=torch.float32).eval()
    rows = [measure(options, model, temperature) for temperature in (1.0, 0.6)]
    summary = {
        "mean_abs_diff": max(float(row["mean_abs_diff"]) for row in rows),
        "p99_abs_diff": max(float(row["p99_abs_diff"]) for row in rows),
        "abs_signed_mean": max(abs(float(row["signed_mean"])) for row in rows),
        "tokens": min(float(row["tokens"]) for row in rows),
        "ids_and_masks_exact": float(all(row["ids_and_masks_exact"] for row in rows)),
    }
    name = "logprobs" if options.dtype == "bfloat16" else f"logprobs_{options.dtype}"
    write_result(name, summary=summary, rows=rows, seed=SEED)
    met = all(summary[figure] <= limit for figure, limit in LIMITS.items())
    return 0 if met and summary["ids_and_masks_exact"] and summary["tokens"] >= 1000 else 1


if __name__ == "__main__":
    raise SystemExit(main())
