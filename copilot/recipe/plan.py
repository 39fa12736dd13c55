"""What a run would do: for each stage its key, its folder and whether it is done. Pure reading, no side effect."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copilot.recipe.fingerprint import fingerprint, stage_key
from copilot.recipe.folder import finished
from copilot.recipe.schema import Recipe
from copilot.stages.base import Stage, StageConfig, get_stage


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its place on disk."""

    config: StageConfig
    """The validated config."""
    kind: str
    """Its type."""
    stage: Stage[Any]
    """Its registration."""
    key: str
    """Cache key (hex)."""
    folder: Path
    """``RUN/ID-KEY``: another config is another folder, and old results stay."""
    outputs: dict[str, Any] | None
    """Outputs when it is done."""

    @property
    def state(self) -> str:
        """``done``, ``resume`` (a killed run left work) or ``run``."""
        if self.outputs is not None:
            return "done"
        return "resume" if self.folder.exists() else "run"


def make_plan(recipe: Recipe) -> list[PlannedStage]:
    """Plan all stages of a validated recipe, in order."""
    root = run_root(recipe)
    model = fingerprint(recipe.model.path) + f":{recipe.model.dtype}"
    keys: dict[str, str] = {}
    plan = []
    for config in recipe.typed_stages():
        kind = str(config.model_dump()["type"])
        stage = get_stage(kind)
        upstream = {ref: keys[ref] for ref in config.upstream()}
        key = stage_key(config, stage, upstream=upstream, model=model, seed=recipe.seed)
        keys[config.id] = key
        folder = root / f"{config.id}-{key[:10]}"
        plan.append(PlannedStage(config, kind, stage, key, folder, finished(folder)))
    return plan


def run_root(recipe: Recipe) -> Path:
    """The run's folder, absolute."""
    return (recipe.output.expanduser() / recipe.name).absolute()
