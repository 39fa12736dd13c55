"""A tiny real model, seeded rows and stages run as the recipe runner runs them."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from copilot.models.tiny import make_tiny
from copilot.recipe.schema import ModelConfig
from copilot.stages.base import StageContext, get_stage

VOCABULARY = 800
SHARED = 12


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


def _ids(rng: random.Random, low: int, high: int) -> list[int]:
    return [rng.randrange(VOCABULARY) for _ in range(rng.randrange(low, high))]


def _completion(rng: random.Random) -> tuple[list[int], list[int]]:
    """Ids and mask: two sampled turns with environment output between them."""
    first, output, second = _ids(rng, 3, 9), _ids(rng, 2, 5), _ids(rng, 2, 6)
    return first + output + second, [1] * len(first) + [0] * len(output) + [1] * len(second)


def sft_row(rng: random.Random) -> dict[str, Any]:
    prompt, (ids, mask) = [5] * SHARED + _ids(rng, 4, 20), _completion(rng)
    labels = [-100] * len(prompt) + [token if m else -100 for token, m in zip(ids, mask, strict=True)]
    return {"input_ids": prompt + ids, "labels": labels}


def dpo_row(rng: random.Random) -> dict[str, Any]:
    chosen, rejected = _completion(rng), _completion(rng)
    return {
        "prompt_ids": [5] * SHARED + _ids(rng, 4, 20),
        "chosen_ids": chosen[0],
        "chosen_mask": chosen[1],
        "rejected_ids": rejected[0],
        "rejected_mask": rejected[1],
        "kind": "turn",
    }


def kto_row(rng: random.Random) -> dict[str, Any]:
    ids, mask = _completion(rng)
    return {
        "prompt_ids": [5] * SHARED + _ids(rng, 4, 20),
        "completion_ids": ids,
        "completion_mask": mask,
        "label": rng.random() < 0.5,
    }


MAKERS = {"sft": sft_row, "dpo": dpo_row, "kto": kto_row}


@pytest.fixture
def make_rows() -> Callable[[str, int], list[dict[str, Any]]]:
    """``make_rows(kind, count)``: seeded rows of a format."""

    def make(kind: str, count: int) -> list[dict[str, Any]]:
        rng = random.Random(f"{kind}{count}")
        return [{**MAKERS[kind](rng), "task_id": f"t{i}", "attempt": 0} for i in range(count)]

    return make


RunStage = Callable[..., dict[str, Any]]


@pytest.fixture
def run_stage(tiny: Path, tmp_path: Path, make_rows: Callable[[str, int], list[dict[str, Any]]]) -> RunStage:
    """``run_stage(kind, rows=8, adapter="", folder="name", settings={}, **training)``: outputs and ``losses``."""

    def run(
        kind: str,
        *,
        rows: int | list[dict[str, Any]] = 8,
        adapter: str = "",
        folder: str = "",
        outputs: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        **training: Any,
    ) -> dict[str, Any]:
        run_folder = tmp_path / (folder or kind)
        (run_folder / "stage").mkdir(parents=True, exist_ok=True)
        table = make_rows(kind, rows) if isinstance(rows, int) else rows
        path = run_folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
        stage = get_stage(kind)
        common = {"batch_size": 4, "micro_batch_size": 2, "learning_rate": 1e-2, "lora": {"r": 4, "alpha": 8}}
        fields = {"id": kind, "type": kind, "rows": "build", "adapter": adapter, "training": common | training}
        config = stage.config.model_validate(fields | ({kind: settings} if settings else {}))
        ctx = StageContext(
            folder=run_folder / "stage",
            run_folder=run_folder,
            outputs={"build": {"rows": str(path)}, **(outputs or {})},
            model=ModelConfig(path=str(tiny), dtype="float32"),
            seed=3,
        )
        result = stage.run(config, ctx)
        lines = (ctx.folder / "losses.jsonl").read_text(encoding="utf-8").splitlines()
        return {**result, "losses": [json.loads(line) for line in lines], "folder": str(ctx.folder)}

    return run
