"""What does playing episodes cost, next to sending their prompts to the same vLLM server without playing anything?

Engine: 16 episodes at once through ``run_jobs``, the sandbox on; every turn samples a fixed number of tokens, and then
runs a real cell (the task's program, a pandas cell, a submit), whatever was sampled. Bare: the very same requests, as
recorded, 16 at once, in the same order per episode, with nothing between them. Both sides sample equally many tokens
(``min_tokens`` = ``max_tokens``) and find equally much in the prefix cache (a salt per run; no prompt contains sampled
tokens). Wall time runs from the first request to the last episode's end, so start-up is in neither.

    python benchmarks/rollouts.py [--model NAME] [--episodes 32] [--tokens 32] [--repeats 5]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from _common import write_result

from copilot.data.store import TrajectoryWriter
from copilot.data.trajectory import Trajectory
from copilot.envs.actions import ExecuteCode, Submit
from copilot.envs.protocols import get_protocol
from copilot.envs.sources.base import get_source
from copilot.models.fetch import resolve_model
from copilot.policy.base import Generation, GenerationRequest, SamplingParams
from copilot.policy.config import VllmConfig
from copilot.policy.tokens import template_stop
from copilot.policy.vllm_engine import VllmPolicy
from copilot.rollout.config import PromptConfig, RolloutConfig
from copilot.rollout.engine import Job, run_jobs

SEED = 0
CONCURRENT = 16
TURNS = 3
LIMIT = 0.90
LOOK = "import pandas as pd\ntable = pd.DataFrame({'answer': [answer] * 3})\nprint(table.describe())"


class ScriptedPolicy(VllmPolicy):
    """Samples from the server as always, then says what the script says; remembers its requests by episode."""

    salt = ""
    began = 0.0
    body: dict[str, Any]
    prompts: dict[str, list[list[int]]]

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample a full-length turn, and return the script's message in its place."""
        self.began = self.began or time.perf_counter()
        generation = await super().generate(request)
        if request.turn == 0:
            self.prompts[request.task.id] = []
        self.prompts[request.task.id].append(list(request.prompt_ids or ()))
        assert self.tokenizer is not None
        cells = (ExecuteCode(code=request.task.reference.program), ExecuteCode(code=LOOK), Submit(variable="answer"))
        text = get_protocol(request.protocol).render(cells[request.turn])
        ids = [*self.tokenizer(text, add_special_tokens=False)["input_ids"], template_stop(self.tokenizer)[1]]
        return replace(generation, text=text, finish_reason="stop", token_ids=ids, logprobs=None)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.body = {**body, "min_tokens": body["max_tokens"], "cache_salt": self.salt}
        return await super()._post(path, self.body)


async def play(policy: ScriptedPolicy, jobs: list[Job], tokens: int, salt: str) -> tuple[float, int]:
    """Play all jobs; wall seconds from the first request, and tokens sampled."""
    policy.salt, policy.began, policy.prompts = salt, 0.0, {}
    config = RolloutConfig(
        prompt=PromptConfig(brief=True),
        max_turns=TURNS,
        concurrency=CONCURRENT,
        sampling=SamplingParams(temperature=1.0, max_tokens=tokens),
    )
    ended: list[float] = []
    solved: list[bool] = []

    def done(trajectory: Trajectory) -> None:
        ended.append(time.perf_counter())
        solved.append(trajectory.success("submitted") and len(trajectory.turns) == TURNS)

    with tempfile.TemporaryDirectory() as folder, TrajectoryWriter(Path(folder) / "rank0.jsonl") as writer:
        tally = await run_jobs(
            jobs, policy=policy, adapter=None, label=salt, config=config, writer=writer, seed=SEED, on_done=done
        )
    assert all(solved), "an episode was not played to its end"
    assert tally.completion_tokens == len(jobs) * TURNS * tokens, "a turn was cut short"
    return max(ended) - policy.began, tally.completion_tokens


async def send(url: str, body: dict[str, Any], episodes: list[list[list[int]]], salt: str) -> tuple[float, int]:
    """Send the recorded prompts, each episode's in order, 16 episodes at once; wall seconds and tokens sampled."""
    waiting, tokens = list(reversed(episodes)), 0
    limits = httpx.Limits(max_connections=CONCURRENT)
    async with httpx.AsyncClient(base_url=url, timeout=1800.0, limits=limits, trust_env=False) as client:

        async def one_after_another() -> None:
            nonlocal tokens
            while waiting:
                for prompt in waiting.pop():
                    answer = await client.post("/v1/completions", json={**body, "prompt": prompt, "cache_salt": salt})
                    answer.raise_for_status()
                    tokens += len(answer.json()["choices"][0]["token_ids"])

        began = time.perf_counter()
        await asyncio.gather(*(one_after_another() for _ in range(CONCURRENT)))
        return time.perf_counter() - began, tokens


async def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The table's rows: a pair of runs per repeat, the first side changing from one to the next."""
    tasks = list(get_source("clinical_calc").tasks("train", limit=options.episodes, seed=SEED))
    jobs = [Job(task, 0) for task in tasks]
    config = VllmConfig(max_num_seqs=CONCURRENT, max_lora_rank=0, max_model_len=2048)
    rows = []
    with tempfile.TemporaryDirectory() as logs:
        model = resolve_model(options.model)
        policy = ScriptedPolicy(config, model=model, device=None, log_folder=Path(logs))
        try:
            await policy.start()
            assert policy._server is not None
            await play(policy, jobs, options.tokens, "warm-up")
            episodes = [policy.prompts[job.task.id] for job in jobs]
            for repeat in range(options.repeats):
                runs: dict[str, tuple[float, int]] = {}
                for side in ("engine", "bare") if repeat % 2 == 0 else ("bare", "engine"):
                    salt = f"{side}-{repeat}"
                    if side == "engine":
                        runs[side] = await play(policy, jobs, options.tokens, salt)
                    else:
                        runs[side] = await send(policy._server.url, policy.body, episodes, salt)
                rate = {side: tokens / seconds for side, (seconds, tokens) in runs.items()}
                assert runs["engine"][1] == runs["bare"][1], "the two sides did not sample equally much"
                rows.append(
                    {
                        "repeat": repeat,
                        "tokens": runs["engine"][1],
                        "engine_seconds": runs["engine"][0],
                        "bare_seconds": runs["bare"][0],
                        "engine_tokens_per_second": rate["engine"],
                        "bare_tokens_per_second": rate["bare"],
                        "ratio": rate["engine"] / rate["bare"],
                    }
                )
        finally:
            await policy.close()
    return rows


def main() -> int:
    """Measure; exit status 1 when the ratio is below the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32, help="sampled per turn")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows = asyncio.run(measure(options))
    ratio = statistics.median(row["ratio"] for row in rows)
    summary = {
        "engine_vs_bare_tokens_ratio": ratio,
        "engine_tokens_per_second": statistics.median(row["engine_tokens_per_second"] for row in rows),
        "bare_tokens_per_second": statistics.median(row["bare_tokens_per_second"] for row in rows),
        "concurrent_episodes": CONCURRENT,
        "turns_per_episode": TURNS,
        "episodes": options.episodes,
    }
    write_result("rollouts", summary=summary, rows=rows, seed=SEED)
    return 0 if ratio >= LIMIT else 1


if __name__ == "__main__":
    raise SystemExit(main())
