"""What an online stage trains, from its recipe and the stages before it: the model, and the optimiser of each part."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel

from copilot.online.config import CriticSettings, OnlineStage, OnlineTraining
from copilot.online.model import ActorCritic, AdapterActorCritic, FullActorCritic
from copilot.online.optimizer import AdamPart, Part
from copilot.online.sharding import shard
from copilot.online.zero import zero_parts
from copilot.policy.adapters import adapter_without_effect, is_without_effect
from copilot.policy.factory import Weights
from copilot.stages.base import StageContext
from copilot.training.loop import training_dtype
from copilot.training.weights import load_trainable, lora_config


def load_model(
    config: OnlineStage, ctx: StageContext, start: Weights, critic: CriticSettings | None, device: torch.device
) -> ActorCritic:
    """The policy, its reference and its critic, on ``device``."""
    training = config.training
    if start.adapter is not None and is_without_effect(Path(start.adapter)):
        raise adapter_without_effect(start.adapter)
    loaded = load_trainable(start, training, dtype=training_dtype(ctx, training))
    shards = training.sharding == "fsdp"
    if not shards:  # shards move layer by layer: the whole may not fit
        torch.nn.Module.to(loaded, device)
    if training.gradient_checkpointing:
        loaded.enable_input_require_grads()
        loaded.gradient_checkpointing_enable({"use_reentrant": False})
    weights = _critic_weights(critic, ctx)
    keep = config.loss.kl.coefficient > 0
    model: ActorCritic
    if isinstance(loaded, PeftModel):
        shape = lora_config(training.model_copy(update={"lora": critic.lora})) if critic else None
        model = AdapterActorCritic(
            loaded,
            reference=start.adapter,
            keep_reference=keep,
            critic=shape,
            critic_weights=weights,
            critic_trunk=critic.trunk if critic else "trained",
        )
    else:
        trunk = critic.trunk if critic else None
        model = FullActorCritic(loaded, keep_reference=keep, critic=trunk, critic_weights=weights)
    if shards:
        model.shard(partial(shard, compute=_compute_dtype(ctx, training)))
    return model


def make_parts(training: OnlineTraining, critic: CriticSettings | None, model: ActorCritic) -> Mapping[str, Part]:
    """What is trained by gradient, by name: ``policy`` and perhaps ``critic``."""
    trained = {"policy": (model.actor_parameters(), training.learning_rate)}
    if critic is not None and critic.trunk == "trained":
        trained["critic"] = (model.critic_parameters(), critic.learning_rate)
    if training.deepspeed:
        return zero_parts(model, trained, training)
    return {name: AdamPart(name, own, peak=peak, settings=training) for name, (own, peak) in trained.items()}


def _compute_dtype(ctx: StageContext, training: OnlineTraining) -> torch.dtype | None:
    """Full weights are kept in float32 and computed in bfloat16 on a GPU, unless the recipe names a type."""
    mixed = training.method == "full" and ctx.model.dtype == "auto" and torch.cuda.is_available()
    return torch.bfloat16 if mixed else None


def _critic_weights(critic: CriticSettings | None, ctx: StageContext) -> Path | None:
    if critic is None or not critic.weights:
        return None
    if critic.weights in ctx.outputs:
        return Path(ctx.output(critic.weights, "critic"))
    return Path(critic.weights).expanduser()
