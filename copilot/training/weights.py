"""Where a stage starts and what it leaves behind: one adapter travels from stage to stage.

A stage loads the adapter as the previous one left it and trains on; it never stacks a second one. What it saves is a
standard PEFT or transformers folder in safetensors, written beside and moved into place when complete.
"""

import os
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, Trainer

from copilot.errors import ModelError
from copilot.policy.factory import Weights
from copilot.training.config import WeightsConfig

PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
"""Files that would be unpickled; never written to, nor read from, a folder of weights."""


def load_trainable(start: Weights, training: WeightsConfig, *, dtype: torch.dtype) -> PreTrainedModel | PeftModel:
    """The model a stage trains: base plus travelling or new adapter, or all weights.

    Args:
        start: The base model, and the adapter to go on with if there is one.
        training: ``method`` and, for a new adapter, its shape.
        dtype: Of the base weights.
    """
    model = AutoModelForCausalLM.from_pretrained(
        start.model, dtype=dtype, attn_implementation="sdpa", use_safetensors=True
    )
    if training.method == "full":
        return model if start.adapter is None else _merged(model, start.adapter)
    zero3 = training.deepspeed == "zero3"  # ZeRO-3 gathers parameters of one dtype only
    if start.adapter is not None:
        check_safe(Path(start.adapter))
        return PeftModel.from_pretrained(model, start.adapter, is_trainable=True, autocast_adapter_dtype=not zero3)
    return get_peft_model(model, lora_config(training), autocast_adapter_dtype=not zero3)


def lora_config(training: WeightsConfig) -> LoraConfig:
    """PEFT's form of the adapter's shape."""
    lora = training.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )


def _merged(model: PreTrainedModel, adapter: str) -> PreTrainedModel:
    check_safe(Path(adapter))
    merged: PreTrainedModel = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return merged


def load_tokenizer(base: str) -> PreTrainedTokenizerBase:
    """The model's tokenizer, padding on the right."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_safe(folder: Path) -> None:
    """Refuse a folder whose weights would have to be unpickled.

    Raises:
        ModelError: It holds pickled weights and no safetensors.
    """
    pickles = sorted(
        path.name for pattern in PICKLES for path in folder.glob(pattern) if path.name != "training_args.bin"
    )
    if pickles and not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"pickled weights {', '.join(pickles)} are refused: loading them would run code",
            where=folder,
            remedy="convert them to safetensors where you trust them (transformers' save_pretrained does)",
        )


def save_weights(trainer: Trainer, folder: Path) -> None:
    """Write the trained weights and the tokenizer to ``folder``; all ranks call it, rank 0 writes.

    With DeepSpeed ZeRO-3 the shards are gathered on the way.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    trainer.save_model(str(partial))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        for pattern in PICKLES:
            for path in partial.glob(pattern):
                path.unlink()
        if not any(partial.glob("*.safetensors")):
            raise ModelError("the trainer wrote no safetensors", where=partial, remedy="report it with the stage's log")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    trainer.accelerator.wait_for_everyone()
