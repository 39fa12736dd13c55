"""The recipe: one YAML file says what is run, from the first sample to the last table.

Nothing heavy is imported here, so a recipe is validated on any machine.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from copilot.config import StrictModel
from copilot.stages.base import StageConfig


class ModelConfig(StrictModel):
    """The base model of the whole recipe."""

    path: str
    """Hub id, local folder, or the name of a model that ``med-copilot models fetch`` knows."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Weights' type in training; ``auto``: bfloat16 on a GPU, float32 on a CPU."""


class WandbConfig(StrictModel):
    """Weights & Biases; offline when there is no key, and off unless asked for."""

    project: str = ""
    """Project name; empty: no tracking."""
    mode: Literal["auto", "online", "offline"] = "auto"
    """``auto``: online when a key is set, else offline."""


class Recipe(StrictModel):
    """A whole run."""

    name: str
    """Name of the run; its folder is ``runs/NAME``."""
    model: ModelConfig
    """The base model."""
    seed: int = 0
    """Seed of everything."""
    output: Path = Path("runs")
    """Where run folders are made."""
    wandb: WandbConfig = Field(default_factory=WandbConfig)
    """Tracking."""
    data_use: Literal["none", "permitted"] = "none"
    """``permitted``: credentialed data may leave the house in this run; needs ``data_use_reason``."""
    data_use_reason: str = ""
    """Why; recorded with the run."""
    stages: list[Any]
    """The steps, in order; each is validated against the stage its ``type`` names."""

    def typed_stages(self) -> list[StageConfig]:
        """The validated stage configs (the loader replaces the raw mappings with these)."""
        return list(self.stages)
