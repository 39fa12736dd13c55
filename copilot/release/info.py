"""``copilot.json``: what a checkpoint folder says about itself beyond what transformers and PEFT say.

A folder without it is a plain model: it loads too, with the published MedAgentGym protocol (``json``).
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from copilot.config import Record
from copilot.envs.prompt import PromptConfig
from copilot.envs.protocols.base import ProtocolName
from copilot.errors import ModelError

FILE_NAME = "copilot.json"
INFO_VERSION = 1


class CheckpointInfo(Record):
    """How a checkpoint was made and wants to be used."""

    schema_version: int = INFO_VERSION
    """Readers refuse other versions."""
    name: str
    """Name of the checkpoint."""
    kind: Literal["lora", "full"]
    """An adapter on ``base_model``, or all weights."""
    base_model: str
    """Hub id, known name or folder of the base model."""
    base_note: str = ""
    """What is special about the base weights it was trained on (``dequantised Q4_1``)."""
    protocol: ProtocolName = "json"
    """Wire protocol it was trained on."""
    prompt: PromptConfig = Field(default_factory=PromptConfig)
    """What it was told before its first turn."""
    training: tuple[str, ...] = ()
    """Stages that trained it, in order, as ``id (type)``."""
    sources: tuple[str, ...] = ()
    """Task sources of its training data."""
    recipe: str = ""
    """Name of the recipe."""
    recipe_hash: str = ""
    """SHA-256 of the resolved recipe."""
    evaluation: dict[str, Any] = Field(default_factory=dict)
    """Figures of the run's evaluation of this stage, as in ``evaluation.json``."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Packages it was trained with."""

    def write(self, folder: Path) -> None:
        """Write it into ``folder``."""
        (folder / FILE_NAME).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_info(folder: Path) -> CheckpointInfo:
    """The folder's ``copilot.json``, or what can be told of a plain folder.

    Raises:
        ModelError: The file is broken, or of another version.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        adapter = (folder / "adapter_config.json").is_file()
        return CheckpointInfo(name=folder.name, kind="lora" if adapter else "full", base_model="")
    try:
        info = CheckpointInfo.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        remedy = "export the checkpoint again with this version of med-copilot"
        raise ModelError(f"not a checkpoint description: {error}", where=path, remedy=remedy) from error
    if info.schema_version != INFO_VERSION:
        raise ModelError(
            f"checkpoint description of version {info.schema_version}, this is version {INFO_VERSION}",
            where=path,
            remedy="use the med-copilot it names under versions",
        )
    return info
