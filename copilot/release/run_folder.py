"""What a finished run says about one of its training stages: its weights, how they were made, how well they do."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copilot.data.store import read_trajectories
from copilot.envs.data_use import closed_sources
from copilot.errors import RecipeError, did_you_mean
from copilot.models.fetch import model_card, resolve_model
from copilot.recipe.folder import finished
from copilot.recipe.loader import load_recipe
from copilot.recipe.schema import Recipe
from copilot.release.info import CheckpointInfo
from copilot.rollout.config import RolloutConfig
from copilot.stages.base import StageConfig

_TRAINING = ("sft", "dpo", "kto", "grpo", "ppo")
_PRIVATE = ("platform", "recipe_file", "processes")


@dataclass(frozen=True)
class FinishedStage:
    """A training stage of a run, and what is known about it."""

    weights: Path
    """Folder of its weights."""
    info: CheckpointInfo
    """For ``copilot.json``; ``base_model`` is the recipe's model."""


def read_stage(run: Path, stage_id: str) -> FinishedStage:
    """Collect what is to be released.

    Args:
        run: A run's folder.
        stage_id: A training stage of it, finished.

    Raises:
        RecipeError: No such run or stage, the stage is not finished, or its data may not leave the house.
    """
    if not (run / "recipe.yaml").is_file():
        raise RecipeError("not a run folder: no recipe.yaml", where=run, remedy="name a folder below runs/")
    recipe = load_recipe(run / "recipe.yaml")
    stages = {stage.id: stage for stage in recipe.typed_stages()}
    if stage_id not in stages:
        raise RecipeError(f"no stage {stage_id!r} in this run", where=run, remedy=did_you_mean(stage_id, stages))
    outputs = _outputs(run, stage_id)
    if outputs is None or "weights" not in outputs:
        remedy = f"finish the run, or name a training stage: {', '.join(_trained(stages))}"
        raise RecipeError(f"stage {stage_id!r} has no weights", where=run, remedy=remedy)
    lineage = list(_lineage(stages, stage_id))
    tasks = _trained_on(run, stages, lineage)
    check_release(recipe, tasks)
    rollout = _rollout(stages, lineage)
    info = CheckpointInfo(
        name=f"{recipe.name}-{stage_id}",
        kind=outputs["kind"],
        base_model=recipe.model.path,
        base_note=str(model_card(Path(resolve_model(recipe.model.path))).get("quantisation", "")),
        protocol=rollout.protocol,
        prompt=rollout.prompt,
        training=tuple(
            f"{s} ({stages[s].model_dump()['type']})" for s in reversed(_trained({s: stages[s] for s in lineage}))
        ),
        sources=tuple(sorted({source for source, _ in tasks})),
        recipe=recipe.name,
        recipe_hash=hashlib.sha256((run / "recipe.yaml").read_bytes()).hexdigest(),
        evaluation=_evaluation(run, stages, stage_id),
        versions=_versions(run),
    )
    return FinishedStage(Path(outputs["weights"]), info)


def check_release(recipe: Recipe, tasks: Iterable[tuple[str, str]]) -> None:
    """Refuse to release what was trained on credentialed data (DESIGN decision 14).

    Args:
        recipe: Knows the permission.
        tasks: Pairs of a source and a task id.

    Raises:
        RecipeError: Unless the recipe says ``data_use: permitted``.
    """
    closed = closed_sources(tasks)
    if closed and recipe.data_use != "permitted":
        raise RecipeError(
            f"trained on credentialed data ({', '.join(closed)}), which may not leave the house",
            remedy="keep the run folder, or set data_use: permitted and data_use_reason in the recipe",
        )


def _versions(run: Path) -> dict[str, str]:
    """Without what tells about the machine."""
    found = json.loads((run / "versions.json").read_text(encoding="utf-8"))
    return {name: str(value) for name, value in found.items() if name not in _PRIVATE}


def _outputs(run: Path, stage_id: str) -> dict[str, Any] | None:
    """Of the newest finished configuration of the stage."""
    folders = sorted(run.glob(f"{stage_id}-*/done.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    exact = [path.parent for path in folders if path.parent.name.rpartition("-")[0] == stage_id]
    return finished(exact[0]) if exact else None


def _trained(stages: dict[str, StageConfig]) -> list[str]:
    return [name for name, stage in stages.items() if stage.model_dump()["type"] in _TRAINING]


def _lineage(stages: dict[str, StageConfig], stage_id: str) -> Iterator[str]:
    """The stage and all it was made from, nearest first, each once."""
    seen, queue = set[str](), [stage_id]
    while queue:
        current = queue.pop(0)
        if current in seen or current not in stages:
            continue
        seen.add(current)
        yield current
        queue += stages[current].upstream()


def _trained_on(run: Path, stages: dict[str, StageConfig], lineage: list[str]) -> set[tuple[str, str]]:
    """Source and task id of the trajectories it was trained on."""
    found: set[tuple[str, str]] = set()
    for stage_id in lineage:
        outputs = _outputs(run, stage_id) or {}
        if "trajectories" in outputs:
            found |= {(t.source, t.task_id) for t in read_trajectories(Path(outputs["trajectories"]))}
    return found


def _rollout(stages: dict[str, StageConfig], lineage: list[str]) -> RolloutConfig:
    """How the episodes of its training data were played; the nearest sampling stage decides."""
    for stage_id in lineage:
        raw = stages[stage_id].model_dump()
        if raw["type"] == "sample":
            return RolloutConfig.model_validate(raw["rollout"])
    return RolloutConfig()


def _evaluation(run: Path, stages: dict[str, StageConfig], stage_id: str) -> dict[str, Any]:
    """The figures of the last evaluation in which it was a subject."""
    figures: dict[str, Any] = {}
    for name, stage in stages.items():
        raw = stage.model_dump()
        outputs = _outputs(run, name) if raw["type"] == "evaluate" else None
        labels = [s["label"] for s in raw.get("subjects", ()) if s["adapter"] == stage_id]
        if outputs and labels:
            record = json.loads(Path(outputs["evaluation"]).read_text(encoding="utf-8"))
            figures = record["subjects"][labels[0]]["overall"]
    return figures
