"""From a verifier's folder to a scorer."""

import json
from pathlib import Path

from copilot.errors import ModelError
from copilot.policy.config import TransformersConfig, VllmConfig
from copilot.policy.factory import Weights
from copilot.verifier.base import Scorer
from copilot.verifier.config import read_info

ScorerConfig = TransformersConfig | VllmConfig
"""Engines a verifier runs on."""


def make_scorer(
    folder: str | Path, config: ScorerConfig, *, log_folder: Path, base: str = "", device: int | None = None
) -> Scorer:
    """The scorer of a trained verifier, not started yet.

    Args:
        folder: The weights a ``verifier`` stage left.
        config: Engine; ``model`` is not looked at, the folder knows its base.
        log_folder: Where a server writes its log.
        base: Base model's folder, where it is not where it was in training; empty: there.
        device: GPU of this rank; ``None``: the engine's choice.

    Raises:
        ModelError: No verifier, or its base model cannot be found.
    """
    info, weights = read_info(folder), verifier_weights(Path(folder), base)
    if isinstance(config, TransformersConfig):
        from copilot.verifier.in_process import InProcessScorer

        return InProcessScorer(info, weights, config, device=device)
    from copilot.policy.vllm_engine import VllmPolicy
    from copilot.verifier.served import ServedScorer

    engine = VllmPolicy(config, model=weights.model, device=device, log_folder=log_folder)
    return ServedScorer(info, weights, engine, config)


def verifier_weights(folder: Path, base: str = "") -> Weights:
    """Base model and adapter of a verifier's folder; a fully trained one is its own base.

    Raises:
        ModelError: The base is neither named nor where the adapter says.
    """
    declared = folder / "adapter_config.json"
    if not declared.is_file():
        return Weights(str(folder.resolve()))
    from copilot.models.fetch import resolve_model

    name = base or str(json.loads(declared.read_text(encoding="utf-8"))["base_model_name_or_path"])
    if "/" in name and name.startswith(("/", ".")) and not Path(name).is_dir():
        raise ModelError(f"the verifier's base model {name!r} is not there", where=folder, remedy="name it: base")
    return Weights(resolve_model(name), str(folder.resolve()))
