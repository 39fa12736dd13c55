"""From a recipe's words to an engine: which class, which weights, which device."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from copilot.errors import RecipeError, did_you_mean
from copilot.models.fetch import resolve_model
from copilot.policy.base import Policy
from copilot.policy.config import OpenAIConfig, PolicyConfig, ReferenceConfig, TransformersConfig

if TYPE_CHECKING:
    from copilot.stages.base import StageContext


@dataclass(frozen=True)
class Weights:
    """What a policy is made of."""

    model: str
    """Local folder or hub id of the full weights."""
    adapter: str | None = None
    """Folder of the LoRA adapter on top of them."""


def make_policy(config: PolicyConfig, *, model: str, device: int | None = None, log_folder: Path) -> Policy:
    """The engine ``config`` describes, not started yet.

    Args:
        config: The recipe's ``policy:`` section; a model named there wins over ``model``.
        model: Name, folder or hub id of the model to serve.
        device: GPU of this rank; ``None``: the engine's choice.
        log_folder: Where a server writes its log.

    Raises:
        ModelError: The model cannot be had.
    """
    if isinstance(config, OpenAIConfig):
        from copilot.policy.openai_engine import OpenAIPolicy

        return OpenAIPolicy(config)
    if isinstance(config, ReferenceConfig):
        from copilot.policy.reference import ReferencePolicy

        return ReferencePolicy(config, model=resolve_model(config.tokenizer or model))
    path = resolve_model(config.model or model)
    if isinstance(config, TransformersConfig):
        from copilot.policy.transformers_engine import TransformersPolicy

        return TransformersPolicy(config, model=path, device=device)
    from copilot.policy.vllm_engine import VllmPolicy

    return VllmPolicy(config, model=path, device=device, log_folder=log_folder)


def resolve_weights(ctx: "StageContext", ref: str) -> Weights:
    """The weights a recipe means by ``ref``.

    Args:
        ctx: The running stage's context.
        ref: Empty: the recipe's model; the id of a training stage; or a folder with a model or an adapter.

    Raises:
        RecipeError: Neither a stage with weights nor a folder.
    """
    if not ref:
        return Weights(ctx.model.path)
    if ref in ctx.outputs:
        folder = Path(ctx.output(ref, "weights"))
        return _with_base(folder, ctx.model.path) if ctx.output(ref, "kind") == "lora" else Weights(str(folder))
    folder = Path(ref).expanduser()
    if (folder / "adapter_config.json").is_file():
        return _with_base(folder.resolve(), ctx.model.path)
    if (folder / "config.json").is_file():
        return Weights(str(folder.resolve()))
    remedy = f"name a training stage or a model folder; stages: {did_you_mean(ref, ctx.outputs)}"
    raise RecipeError(f"no weights {ref!r}", remedy=remedy)


def _with_base(adapter: Path, model: str) -> Weights:
    """An adapter trained on an earlier stage's full weights keeps them as its base; others go on the recipe's model."""
    declared = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    local = isinstance(declared, str) and (Path(declared) / "config.json").is_file()
    return Weights(declared if local else model, str(adapter))
