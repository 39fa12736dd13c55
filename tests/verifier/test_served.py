"""Scoring through the installed vLLM with the tiny model: the same scores as in process."""

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot.data.trajectory import Trajectory
from copilot.errors import InfrastructureError
from copilot.policy.config import TransformersConfig, VllmConfig
from copilot.policy.vllm_engine import VllmPolicy
from copilot.policy.vllm_server import VllmServer
from copilot.verifier import make_scorer
from copilot.verifier.factory import ScorerConfig

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
CONFIG = VllmConfig(max_num_seqs=16, max_lora_rank=8, max_model_len=512, dtype="float32")


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    started = VllmServer(CONFIG, model=str(tiny), device=None, log_folder=tmp_path_factory.mktemp("logs"))
    asyncio.run(started.start())
    yield started
    asyncio.run(started.stop())


def logits(weights: str, config: ScorerConfig, trajectories: list[Trajectory], folder: Path) -> list[float]:
    async def run() -> list[float]:
        scorer = make_scorer(weights, config, log_folder=folder)
        await scorer.start()
        try:
            return await scorer.logits(trajectories)
        finally:
            await scorer.close()

    return asyncio.run(run())


def test_served_scores_equal_those_in_process(
    run_verifier: Callable[..., dict[str, Any]],
    episodes: Callable[..., list[Trajectory]],
    server: VllmServer,
    tmp_path: Path,
) -> None:
    weights = run_verifier(max_steps=12)["weights"]
    new = episodes(6, 4, first=100)
    served = logits(weights, CONFIG.model_copy(update={"url": server.url}), new, tmp_path)
    inside = logits(weights, TransformersConfig(dtype="float32"), new, tmp_path)
    assert served == pytest.approx(inside, abs=2e-2)
    assert max(inside) - min(inside) > 0.2


def test_a_choice_is_a_distribution_over_the_tokens_named(server: VllmServer, tiny: Path, tmp_path: Path) -> None:
    async def run() -> tuple[list[float], list[float]]:
        config = CONFIG.model_copy(update={"url": server.url})
        policy = VllmPolicy(config, model=str(tiny), device=None, log_folder=tmp_path)
        await policy.start()
        try:
            one = await policy.choice_logprobs([5, 6, 7], (300, 301))
            with pytest.raises(InfrastructureError, match="400"):
                await policy.choice_logprobs([5, 6, 7], (300, 10**6))
            return one, await policy.choice_logprobs([5, 6, 7], (301, 300))
        finally:
            await policy.close()

    one, swapped = asyncio.run(run())
    assert one == pytest.approx(swapped[::-1], abs=1e-4)
