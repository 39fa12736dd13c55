"""Making a checkpoint others can load: a standard transformers or PEFT folder plus ``copilot.json`` and a model card.

The folder is built beside and moved into place when complete. Nothing machine-specific is left in it: an adapter names
its base by hub id where that is known, and trainer state stays behind.
"""

import json
import os
import shutil
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from copilot.errors import ModelError
from copilot.models.fetch import resolve_model
from copilot.models.known import find_known
from copilot.models.quiet import quiet_transformers
from copilot.release.card import model_card
from copilot.release.info import CheckpointInfo
from copilot.training.weights import check_safe

_KEPT = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*config.json",
    "tokenizer*",
    "*.jinja",
    "vocab.json",
    "merges.txt",
)


def export(weights: Path, out: Path, info: CheckpointInfo, *, merge: bool = False) -> Path:
    """Write a releasable folder.

    Args:
        weights: Folder a training stage wrote: an adapter or a full model.
        out: The new folder; must not exist or be empty.
        info: What ``copilot.json`` and the card say. ``base_model`` is a folder, known name or hub id.
        merge: Merge an adapter into its base and write full weights.

    Returns:
        ``out``.

    Raises:
        ModelError: ``out`` is not empty, the weights are pickled, or the base model cannot be had.
    """
    if out.exists() and any(out.iterdir()):
        raise ModelError("the folder is not empty", where=out, remedy="name a new folder with --out")
    check_safe(weights)
    partial = out.absolute().with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    public = hub_name(info.base_model)
    if info.kind == "lora" and merge:
        _merge(weights, info.base_model, partial)
        info = info.evolve(kind="full")
    else:
        _copy(weights, partial)
    if info.kind == "lora":
        _rename_base(partial / "adapter_config.json", public)
    info = info.evolve(base_model=public)
    info.write(partial)
    (partial / "README.md").write_text(model_card(info), encoding="utf-8")
    if out.exists():
        out.rmdir()
    os.replace(partial, out)
    return out


def hub_name(model: str) -> str:
    """The hub id of a known or fetched model; anything else as it is."""
    known = find_known(model)
    if known is not None:
        return known.hub_id
    card = Path(model) / "copilot_model.json"
    return str(json.loads(card.read_text(encoding="utf-8"))["hub_id"]) if card.is_file() else model


def _copy(weights: Path, out: Path) -> None:
    for pattern in _KEPT:
        for path in weights.glob(pattern):
            shutil.copy2(path, out / path.name)


def _merge(weights: Path, base: str, out: Path) -> None:
    """Full weights in the base's type; the sum is taken in float32."""
    folder = resolve_model(base)
    with quiet_transformers():
        stored = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", use_safetensors=True).dtype
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        merged = PeftModel.from_pretrained(model, str(weights)).merge_and_unload().to(stored)
        merged.save_pretrained(out)
        AutoTokenizer.from_pretrained(weights).save_pretrained(out)


def _rename_base(path: Path, base: str) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
