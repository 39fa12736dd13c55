"""What cannot work stops before the first step, and says what to do; what is broken in an episode masks it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from copilot.data.trajectory import Outcome, StopReason, Trajectory
from copilot.envs.protocols import get_protocol
from copilot.errors import ModelError, RecipeError, ServerError
from copilot.online.config import GrpoConfig, OnlineTraining, PpoConfig
from copilot.online.episodes import make_episode
from copilot.online.loading import load_model, make_parts
from copilot.online.model import AdapterActorCritic
from copilot.online.packing import build_pack
from copilot.online.rows import TrainRow
from copilot.online.visibility import check_visible
from copilot.policy.base import Generation, GenerationRequest
from copilot.policy.factory import Weights
from copilot.policy.tokens import load_tokenizer
from copilot.recipe.schema import ModelConfig
from copilot.reward import terms
from copilot.rollout.rendering import Renderer
from copilot.stages.base import StageContext
from copilot.training.config import LoraSettings, TrainingConfig
from copilot.training.weights import load_trainable

from .conftest import RunOnline

CPU = torch.device("cpu")


@pytest.fixture
def model(actor: Path) -> AdapterActorCritic:
    torch.manual_seed(0)
    loaded = load_trainable(Weights(str(actor)), TrainingConfig(lora=LoraSettings(r=4)), dtype=torch.float32)
    assert isinstance(loaded, PeftModel)
    return AdapterActorCritic(loaded, reference=None, keep_reference=False)


def server_like(
    model: AdapterActorCritic, *, follows: bool
) -> tuple[Callable[[], None], Callable[[GenerationRequest], Generation]]:
    """A server with the trainer's weights as pushed, or one that stays as it was."""
    served: dict[str, torch.Tensor] = {}

    def push() -> None:
        if follows or not served:
            served.update({name: p.detach().clone() for name, p in model.actor_parameters().items()})

    def sample(request: GenerationRequest) -> Generation:
        ids, prompt = [7, 8, 9, 10, 11, 12], request.prompt_ids or []
        now = {name: p.detach().clone() for name, p in model.actor_parameters().items()}
        with torch.no_grad():
            for name, parameter in model.actor_parameters().items():
                parameter.copy_(served[name])
            trained, versions = list(range(len(prompt), len(prompt) + 6)), torch.zeros(6, dtype=torch.long)
            row = TrainRow([*prompt, *ids], trained, torch.zeros(6), versions, 1.0, 0, 0)
            logprobs = model.act(build_pack([row], CPU)).logps_N.tolist()
            for name, parameter in model.actor_parameters().items():
                parameter.copy_(now[name])
        return Generation(text="", token_ids=ids, logprobs=logprobs)

    return push, sample


def test_a_server_that_takes_updates_passes_and_the_weights_are_put_back(model: AdapterActorCritic) -> None:
    before = {name: p.detach().clone() for name, p in model.actor_parameters().items()}
    push, sample = server_like(model, follows=True)
    seen = check_visible(model, list(range(20, 60)), push=push, sample=sample, device=CPU)
    assert seen.changed < 1e-4 < 0.1 < seen.unchanged
    assert all(torch.equal(p, before[name]) for name, p in model.actor_parameters().items())


def test_a_server_that_does_not_is_refused(model: AdapterActorCritic) -> None:
    push, sample = server_like(model, follows=False)
    push()
    with pytest.raises(ServerError, match=r"do not show in the server(.|\n)*VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        check_visible(model, list(range(20, 60)), push=push, sample=sample, device=CPU)


def test_an_adapter_without_effect_is_refused(model: AdapterActorCritic, actor: Path, tmp_path: Path) -> None:
    model.save_policy(tmp_path / "zero")
    config = GrpoConfig.model_validate({"id": "rl", "suite": "starter", "rollout": {"sampling": {"temperature": 1}}})
    ctx = StageContext(tmp_path, tmp_path, {}, ModelConfig(path=str(actor), dtype="float32"), 0)
    with pytest.raises(ModelError, match="without effect"):
        load_model(config, ctx, Weights(str(actor), str(tmp_path / "zero")), None, CPU)


def test_a_template_that_rewrites_messages_is_refused(actor: Path) -> None:
    tokenizer = load_tokenizer(str(actor))
    template = str(tokenizer.chat_template)
    tokenizer.chat_template = template.replace(
        "message['content'] +", "(message['content'] if loop.last or message['role'] != 'assistant' else 'cut') +"
    )
    with pytest.raises(ModelError, match="rewrites earlier messages"):
        Renderer(tokenizer, get_protocol("markdown"))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"rollout": {"sampling": {"temperature": 0.0}}}, "greedy"),
        ({"rollout": {"sampling": {"temperature": 1.0, "top_p": 0.9}}}, "top_p"),
        ({"group_size": 1}, "greater than or equal to 2"),
        ({"training": {"deepspeed": "zero2", "sharding": "fsdp"}}, "set one of them"),
        ({"training": {"deepspeed": "my.json"}}, "zero2 or zero3"),
        ({"policy": {"type": "vllm", "weight_sync": "nccl"}}, "give policy.url"),
        ({"policy": {"type": "vllm", "weight_sync": "gloo"}}, "adapters are loaded from files"),
        ({"policy": {"type": "openai", "model": "gpt"}}, "openai"),
    ],
)
def test_settings_that_cannot_work_are_named(changes: dict[str, Any], fault: str) -> None:
    raw = {"id": "rl", "suite": "starter", "rollout": {"sampling": {"temperature": 1.0}}} | changes
    with pytest.raises(ValueError, match=fault):
        GrpoConfig.model_validate(raw)


@pytest.mark.parametrize("engine", ["DEEPSPEED", "FSDP"])
def test_a_launcher_whose_engine_would_not_be_used_is_refused(
    engine: str, run_online: RunOnline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    with pytest.raises(RecipeError, match=rf"{engine}(.|\n)*training.sharding: fsdp"):
        run_online("grpo", "arm")


def test_a_missing_deepspeed_is_named(model: AdapterActorCritic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilot.online.zero.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"not installed(.|\n)*training.sharding: fsdp"):
        make_parts(OnlineTraining(deepspeed="zero2"), None, model)


def test_an_unknown_critic_is_named(actor: Path, tmp_path: Path) -> None:
    config = PpoConfig.model_validate(
        {"id": "rl", "suite": "starter", "rollout": {"sampling": {"temperature": 1}}, "critic": {"weights": "./no"}}
    )
    ctx = StageContext(tmp_path, tmp_path, {}, ModelConfig(path=str(actor), dtype="float32"), 0)
    with pytest.raises(ModelError, match=r"value_head.safetensors(.|\n)*leave critic.weights out"):
        load_model(config, ctx, Weights(str(actor)), config.critic, CPU)


@pytest.mark.parametrize("said", [None, math.nan])
def test_an_episode_without_a_reward_is_masked_and_says_why(
    said: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terms, "get_term", lambda name: lambda trajectory: said)
    config = GrpoConfig.model_validate({"id": "rl", "suite": "starter", "rollout": {"sampling": {"temperature": 1}}})
    trajectory = Trajectory(
        task_id="t",
        attempt=0,
        source="s",
        policy="p",
        protocol="json",
        prompt=(),
        turns=(),
        outcome=Outcome(submitted=True, submitted_correct=True),
        stop_reason=StopReason.SUBMITTED,
    )
    episode = make_episode(trajectory, config)
    assert (episode.mask, episode.reward, episode.rows) == ("no reward", 0.0, [])


def test_reward_terms_are_checked_before_anything_is_played() -> None:
    raw = {"id": "rl", "suite": "starter", "rollout": {"sampling": {"temperature": 1}}, "rewards": {"anwser": 1.0}}
    with pytest.raises((ValueError, RecipeError), match="did you mean 'answer'"):
        GrpoConfig.model_validate(raw)
