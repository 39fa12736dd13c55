"""From a recipe's words to an engine and its weights; and the teacher, on a real task."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.protocols.base import get_protocol
from copilot.envs.sources.base import get_source
from copilot.errors import ModelError, RecipeError
from copilot.models.tiny import make_tiny
from copilot.policy.base import GenerationRequest, SamplingParams
from copilot.policy.config import OpenAIConfig, ReferenceConfig, TransformersConfig, VllmConfig
from copilot.policy.factory import Weights, make_policy, resolve_weights
from copilot.policy.openai_engine import OpenAIPolicy
from copilot.policy.reference import ReferencePolicy
from copilot.policy.transformers_engine import TransformersPolicy
from copilot.policy.vllm_engine import VllmPolicy
from copilot.recipe.schema import ModelConfig
from copilot.stages.base import StageContext


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


def test_every_config_has_its_engine(tiny: Path, tmp_path: Path) -> None:
    expected: list[tuple[Any, type]] = [
        (VllmConfig(), VllmPolicy),
        (TransformersConfig(), TransformersPolicy),
        (OpenAIConfig(model="teacher"), OpenAIPolicy),
        (ReferenceConfig(), ReferencePolicy),
    ]
    for config, engine in expected:
        assert type(make_policy(config, model=str(tiny), log_folder=tmp_path)) is engine


def test_a_model_named_in_the_policy_wins(tiny: Path, tmp_path: Path) -> None:
    policy = make_policy(TransformersConfig(model=str(tiny)), model="/nowhere", log_folder=tmp_path)
    assert policy.label == str(tiny)
    with pytest.raises(ModelError, match="nowhere"):
        make_policy(TransformersConfig(), model="/nowhere", log_folder=tmp_path)


def context(tmp_path: Path, outputs: dict[str, dict[str, Any]]) -> StageContext:
    return StageContext(folder=tmp_path, run_folder=tmp_path, outputs=outputs, model=ModelConfig(path="/base"), seed=0)


def adapter(folder: Path, base: str | None) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return folder


def test_weights_by_nothing_by_stage_and_by_folder(tiny: Path, tmp_path: Path) -> None:
    lora, on_tiny = adapter(tmp_path / "lora", "org/hub-name"), adapter(tmp_path / "on_tiny", str(tiny))
    outputs = {
        "sft": {"weights": str(lora), "kind": "lora"},
        "full": {"weights": str(tiny), "kind": "full"},
        "dpo": {"weights": str(on_tiny), "kind": "lora"},
        "sample": {"trajectories": "x"},
    }
    ctx = context(tmp_path, outputs)
    assert resolve_weights(ctx, "") == Weights("/base")
    assert resolve_weights(ctx, "sft") == Weights("/base", str(lora))
    assert resolve_weights(ctx, "full") == Weights(str(tiny))
    assert resolve_weights(ctx, "dpo") == Weights(str(tiny), str(on_tiny))  # trained on an earlier stage's weights
    assert resolve_weights(ctx, str(lora)) == Weights("/base", str(lora))
    assert resolve_weights(ctx, str(tiny)) == Weights(str(tiny))
    for wrong, named in (("sfd", "'sft'"), ("sample", "weights"), (str(tmp_path / "none"), "no weights")):
        with pytest.raises(RecipeError) as caught:
            resolve_weights(ctx, wrong)
        assert named in str(caught.value)


@pytest.mark.parametrize("protocol", ["json", "tools", "markdown"])
def test_the_teacher_writes_its_demonstration_turn_by_turn(tiny: Path, protocol: str) -> None:
    task = next(iter(get_source("clinical_calc").tasks("train", limit=1)))
    actions = get_source("clinical_calc").demonstration(task)
    first = GenerationRequest(
        messages=[], prompt_ids=[1, 2, 3], task=task, turn=0, sampling=SamplingParams(), seed=0, protocol=protocol
    )

    async def play() -> None:
        policy = ReferencePolicy(ReferenceConfig(), model=str(tiny))
        await policy.start()
        assert policy.tokenizer is not None
        wire = get_protocol(protocol)
        for turn in range(len(actions) + 1):
            answer = await policy.generate(replace(first, turn=turn))
            action = actions[min(turn, len(actions) - 1)]
            assert wire.parse(answer.text, task.permitted) == action
            assert answer.token_ids is not None
            assert answer.token_ids[-1] == policy.tokenizer.eos_token_id
            assert policy.tokenizer.decode(answer.token_ids[:-1]) == answer.text
            assert (answer.logprobs, answer.finish_reason, answer.prompt_tokens) == (None, "stop", 3)
        await policy.close()

    asyncio.run(play())
