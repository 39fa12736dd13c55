"""The contract of a recipe stage, and the registry that later stages join.

A stage is one module in this folder with a module-level ``STAGE``: a config class with a ``type`` literal and a
``run`` function. It reads the outputs of earlier stages by id, writes below ``ctx.folder`` only, appends as it goes
and picks up where a killed run stopped. The runner decides when a stage runs and whether it is already done.
"""

import importlib
import json
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from copilot.config import StrictModel
from copilot.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from copilot.recipe.schema import ModelConfig


def stage_ids(*names: str) -> list[str]:
    """Those of ``names`` that are stages: not empty, and no folder, which has a ``/`` and so never hides a stage."""
    return [name for name in names if name and "/" not in name]


class StageConfig(StrictModel):
    """What every stage has."""

    id: str
    """Name of this step; later stages refer to its outputs by it."""

    def upstream(self) -> list[str]:
        """Ids of the stages whose outputs this one reads; part of the cache key."""
        return []


C = TypeVar("C", bound=StageConfig)


@dataclass(frozen=True)
class StageContext:
    """What a running stage is given. The same in every rank; ``rank`` and ``world_size`` tell them apart."""

    folder: Path
    """The stage's own folder; everything it writes lies below."""
    run_folder: Path
    """The run's folder."""
    outputs: dict[str, dict[str, Any]]
    """Outputs of earlier stages: id -> the mapping their ``run`` returned (paths are absolute strings)."""
    model: "ModelConfig"
    """The recipe's model, with ``path`` resolved to a local folder or hub id."""
    seed: int
    """The recipe's seed."""
    rank: int = 0
    """This process among all of the run."""
    local_rank: int = 0
    """This process among those of its node; picks the device."""
    world_size: int = 1
    """Processes of the run."""
    stage_id: str = ""
    """The stage's id, as in the recipe; its folder's name has a hash behind it."""
    data_use: str = "none"
    """The recipe's ``data_use``; ``permitted`` lets credentialed data leave the house."""

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the one that writes shared files."""
        return self.rank == 0

    def output(self, stage_id: str, name: str) -> Any:
        """Output ``name`` of stage ``stage_id``."""
        if stage_id not in self.outputs:
            raise RecipeError(f"no earlier stage {stage_id!r}", remedy=did_you_mean(stage_id, self.outputs))
        outputs = self.outputs[stage_id]
        if name not in outputs:
            raise RecipeError(f"stage {stage_id!r} has no output {name!r}", remedy=did_you_mean(name, outputs))
        return outputs[name]

    def locate(self, name: str, output: str) -> Path:
        """The folder ``name`` stands for: itself when it has a ``/``, else what that stage left as ``output``."""
        return Path(name).expanduser() if "/" in name else Path(self.output(name, output))

    def log(self, step: int | None = None, **figures: float | int | str) -> None:
        """Append a record to the run's ``metrics.jsonl`` (rank 0 only; others are ignored)."""
        if self.is_main:
            record = {"stage": self.stage_id or self.folder.name, "step": step, **figures}
            with open(self.run_folder / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


@dataclass(frozen=True)
class Stage(Generic[C]):
    """A registered stage."""

    config: type[C]
    """Its config class; the ``type`` literal names it in recipes."""
    run: Callable[[C, StageContext], dict[str, Any]]
    """Runs in a child process of every rank; returns JSON outputs (rank 0's count) for later stages."""
    distributed: bool = True
    """Whether all ranks run it; otherwise rank 0 alone does, and the others wait."""
    version: int = 1
    """Raised when the same config would give another result; part of the cache key."""


def stage_types() -> list[str]:
    """Names of all stages, sorted."""
    import copilot.stages as package

    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name != "base")


def get_stage(name: str) -> Stage[Any]:
    """The stage whose config has ``type: name``.

    Raises:
        RecipeError: No such stage.
    """
    if name not in stage_types():
        raise RecipeError(f"no stage of type {name!r}", remedy=did_you_mean(name, stage_types()))
    stage: Stage[Any] = importlib.import_module(f"copilot.stages.{name}").STAGE
    return stage
