"""The ``training:`` section of a recipe, of SFT, DPO and KTO (and, in part, of online RL); nothing heavy is imported.

Sizes are global: ``batch_size`` is rows per optimiser step whatever the number of processes, so a recipe means
the same on one CPU and on eight GPUs.
"""

import math
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from copilot.config import StrictModel
from copilot.errors import RecipeError


class LoraSettings(StrictModel):
    """The adapter, when a stage starts a new one; an adapter of an earlier stage keeps its own shape."""

    r: PositiveInt = 32
    """Rank."""
    alpha: PositiveInt = 64
    """Scale: the update is multiplied by ``alpha / r``."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    targets: str | list[str] = "all-linear"
    """Modules that get an adapter; ``all-linear``: every linear layer but the output head."""


class WeightsConfig(StrictModel):
    """What every stage that trains shares."""

    method: Literal["lora", "full"] = "lora"
    """``lora``: one adapter that travels from stage to stage; ``full``: all weights."""
    lora: LoraSettings = Field(default_factory=LoraSettings)
    """Shape of a new adapter."""
    learning_rate: PositiveFloat = 2e-4
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    """Learning rate over the steps."""
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps that warm up."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decay."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradient clipping; 0: none."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    deepspeed: str = ""
    """``zero2``, ``zero3`` (the files in ``launch/deepspeed``) or a DeepSpeed JSON file; empty: plain DDP."""

    def deepspeed_file(self) -> Path | None:
        """The DeepSpeed JSON file meant, or ``None``.

        Raises:
            RecipeError: No such file.
        """
        if not self.deepspeed:
            return None
        shipped = Path(str(files("copilot.launch"))) / "deepspeed" / f"{self.deepspeed}.json"
        path = shipped if self.deepspeed in ("zero2", "zero3") else Path(self.deepspeed)
        if not path.is_file():
            raise RecipeError(f"no DeepSpeed file {str(path)!r}", where="training.deepspeed", remedy="zero2 or zero3")
        return path


class TrainingConfig(WeightsConfig):
    """How weights are moved over rows of a file."""

    epochs: PositiveFloat = 1.0
    """Passes over the rows."""
    max_steps: int = Field(default=0, ge=0)
    """Stop after so many steps; 0: what ``epochs`` gives."""
    batch_size: PositiveInt = 16
    """Rows per optimiser step over all processes."""
    micro_batch_size: PositiveInt = 4
    """Rows (pairs in DPO) per forward and process, at most; gradient accumulation makes up the rest."""
    max_tokens: PositiveInt = 4096
    """Longest row; see ``too_long``."""
    too_long: Literal["drop", "truncate"] = "drop"
    """What happens to longer rows: left out, or cut at the end. Both are counted."""
    save_every_steps: int = Field(default=50, ge=0)
    """Resumable checkpoint every so many steps; 0: none."""
    logging_steps: PositiveInt = 1
    """Steps between two records in ``metrics.jsonl``."""

    def micro_batch(self, world_size: int) -> tuple[int, int]:
        """Rows per forward and forwards per step in one process, so that a step has exactly ``batch_size`` rows.

        Raises:
            RecipeError: ``batch_size`` is not a multiple of the processes.
        """
        if self.batch_size % world_size:
            raise RecipeError(
                f"training.batch_size {self.batch_size} is not a multiple of the {world_size} processes",
                remedy=f"set it to {math.ceil(self.batch_size / world_size) * world_size}",
            )
        rows = self.batch_size // world_size
        micro = max(n for n in range(1, min(self.micro_batch_size, rows) + 1) if rows % n == 0)
        return micro, rows // micro

    def steps(self, rows: int) -> int:
        """Optimiser steps over ``rows`` rows; the last step is always a full one."""
        return self.max_steps or max(1, math.ceil(rows * self.epochs / self.batch_size))


class DpoSettings(StrictModel):
    """What only DPO has."""

    beta: PositiveFloat = 0.1
    """Strength of the pull towards the reference."""
    loss: list[Literal["sigmoid", "ipo", "hinge", "sft", "apo_zero"]] = Field(default=["sigmoid"], min_length=1)
    """Loss terms, added; ``sft`` is the chosen answer's token mean."""
    loss_weights: list[float] | None = None
    """A weight per term; ``None``: all 1."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=0.5)
    """Share of pairs taken to be the wrong way round, in ``sigmoid`` (conservative DPO)."""

    @model_validator(mode="after")
    def _one_weight_per_term(self) -> Self:
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss):
            raise ValueError(f"loss_weights has {len(self.loss_weights)} entries for {len(self.loss)} loss terms")
        return self


class KtoSettings(StrictModel):
    """What only KTO has."""

    beta: PositiveFloat = 0.1
    """Strength of the pull towards the reference."""
    desirable_weight: PositiveFloat = 1.0
    """Weight of good rows."""
    undesirable_weight: PositiveFloat = 1.0
    """Weight of bad rows."""
