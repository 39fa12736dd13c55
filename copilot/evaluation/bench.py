"""What a leaderboard is made of: the models file, and a recipe per model with an evaluate stage per suite.

Each model is a run of its own, cached and resumed like any recipe: a killed leaderboard goes on where it was, and a new
model in the file costs its own episodes only.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, model_validator

from copilot.config import StrictModel, parse
from copilot.envs.prompt import PromptConfig
from copilot.envs.protocols.base import ProtocolName
from copilot.errors import DataError
from copilot.evaluation.leaderboard import Entry, Price
from copilot.policy.base import SamplingParams
from copilot.policy.config import OpenAIConfig, PolicyConfig, VllmConfig
from copilot.recipe.loader import validate
from copilot.recipe.plan import make_plan
from copilot.recipe.schema import Recipe

LABEL = "model"
"""The subject's label within a model's own run."""


class PriceConfig(StrictModel):
    """US dollars per million tokens."""

    prompt: float = Field(ge=0)
    """Tokens shown."""
    completion: float = Field(ge=0)
    """Tokens sampled."""


class BenchModel(StrictModel):
    """A model on the leaderboard."""

    name: str
    """Name in the table."""
    path: str = ""
    """Hub id, local folder or known name; empty for an API's model, which the policy names."""
    adapter: str = ""
    """Folder of a LoRA adapter."""
    policy: PolicyConfig = Field(default_factory=VllmConfig)
    """The engine."""
    protocols: list[ProtocolName] = Field(default=["markdown", "json", "tools"], min_length=1)
    """Wire protocols to try; compared on a part of the tasks, the best plays all of them."""
    prompt: PromptConfig = Field(default_factory=lambda: PromptConfig(context=True, examples=1))
    """What it is told."""
    sampling: SamplingParams = Field(default_factory=lambda: SamplingParams(temperature=0.6, max_tokens=512))
    """How tokens are drawn."""
    price: PriceConfig | None = None
    """What its tokens cost."""
    sft_share: float | None = Field(default=None, gt=0, le=1)
    """Share of the SFT data it was trained on, when it belongs to such a series."""

    @model_validator(mode="after")
    def _has_weights(self) -> Self:
        if bool(self.path) == isinstance(self.policy, OpenAIConfig):
            raise ValueError("name a path, or a policy of type openai with its model")
        return self


class BenchFile(StrictModel):
    """``models.yaml``."""

    models: list[BenchModel] = Field(min_length=1)
    """Who takes part."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({slug(model.name) for model in self.models}) < len(self.models):
            raise ValueError("two models have the same name")
        return self


class BenchSettings(StrictModel):
    """What every model plays."""

    suites: list[str] = Field(min_length=1)
    """Suites: shipped names or files."""
    splits: list[str] = Field(default=[])
    """Splits of the suites; empty: all."""
    attempts: int = Field(default=1, ge=1)
    """Episodes per task, K."""
    limit: int | None = Field(default=None, ge=1)
    """Tasks of a suite, at most."""
    max_turns: int = Field(default=15, ge=1)
    """Messages per episode."""
    max_repeats: int | None = 4
    """Equal turns in a row that end an episode; empty: never."""
    seed: int = 0
    """Of the episodes."""


def read_models(path: Path) -> list[BenchModel]:
    """The models of a file.

    Raises:
        DataError: No such file, or no YAML.
        RecipeError: Its content is not what it should be.
    """
    if not path.is_file():
        raise DataError("no such models file", where=path, remedy="see docs/verifier.md for its form")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"not YAML: {error}", where=path, remedy="mend the file") from error
    return parse(BenchFile, raw, where=path).models


def model_recipe(model: BenchModel, settings: BenchSettings, output: Path) -> Recipe:
    """The run of one model: an evaluate stage per suite."""
    common: dict[str, Any] = {
        "type": "evaluate",
        "splits": settings.splits,
        "limit": settings.limit,
        "attempts": settings.attempts,
        "policy": model.policy.model_dump(),
        "subjects": [
            {
                "label": LABEL,
                "adapter": str(Path(model.adapter).absolute()) if model.adapter else "",
                "protocols": list(model.protocols),
            }
        ],
        "protocol_trials": max(5, (settings.limit or 40) // 4),
        "rollout": {
            "prompt": model.prompt.model_dump(),
            "max_turns": settings.max_turns,
            "max_repeats": settings.max_repeats,
            "concurrency": 32,
            "sampling": model.sampling.model_dump(),
        },
    }
    raw = {
        "name": slug(model.name),
        "model": {"path": model.path or "tiny"},  # an API's model has no folder: the recipe's own is never loaded
        "seed": settings.seed,
        "output": str(output),
        "stages": [{**common, "id": slug(Path(suite).stem), "suite": suite} for suite in settings.suites],
    }
    return validate(raw, where=f"model {model.name!r}")


def entries(model: BenchModel, recipe: Recipe, suites: Sequence[str]) -> list[Entry]:
    """What a finished run left, suite by suite."""
    from copilot.data.store import read_trajectories

    price = Price(model.price.prompt, model.price.completion) if model.price else None
    found = []
    for suite, planned in zip(suites, make_plan(recipe), strict=True):
        assert planned.outputs is not None, "the run has ended"
        evaluation = json.loads(Path(planned.outputs["evaluation"]).read_text(encoding="utf-8"))
        protocol = evaluation["subjects"][LABEL]["protocol"]
        played = read_trajectories(planned.folder / "trajectories" / f"{LABEL}-{protocol}")
        found.append(Entry(model.name, Path(suite).stem, protocol, list(played), price))
    return found


def slug(name: str) -> str:
    """A name as a folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
