"""From real episodes to training rows: text-only teachers are rendered as if they had written in tokens."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot.config import parse
from copilot.data.store import TrajectoryWriter, read_trajectories
from copilot.envs.protocols.base import get_protocol
from copilot.envs.sources.base import get_source
from copilot.models.tiny import tiny_tokenizer
from copilot.policy.base import Generation, GenerationRequest, Policy
from copilot.recipe.schema import ModelConfig
from copilot.rollout.config import RolloutConfig
from copilot.rollout.engine import run_jobs
from copilot.rollout.job import Job
from copilot.rollout.rendering import Renderer
from copilot.rollout.teacher import render_rows
from copilot.stages import StageContext, get_stage

WRONG = "```python\nanswer = 1 / 0\n```"


class Stumbling(Policy):
    """Solves every task, but first runs into an error."""

    label = "stumbling"

    def __init__(self, *, tokens: bool) -> None:
        self.tokenizer = tiny_tokenizer() if tokens else None

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def generate(self, request: GenerationRequest) -> Generation:
        program = f"```python\n{request.task.reference.program}\n```"
        return Generation(text=(WRONG, program, "```submit\nanswer\n```")[request.turn], policy_version="stumbling")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    tasks = list(get_source("clinical_calc").tasks("train", limit=3))
    root = tmp_path_factory.mktemp("stores")

    def play(tokens: bool) -> Path:
        folder = root / f"tokens-{tokens}"
        if not folder.exists():
            with TrajectoryWriter(folder / "rank0.jsonl") as writer:
                config = RolloutConfig.model_validate({"sandbox": {"require": "none"}})
                policy = Stumbling(tokens=tokens)
                jobs: Iterator[Job] = (Job(task, 0) for task in tasks)
                asyncio.run(
                    run_jobs(jobs, policy=policy, adapter=None, label="t", config=config, writer=writer, seed=1)
                )
        return folder

    return play


def build(folder: Path, store: Path, **config: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    stage = get_stage("build")
    model = ModelConfig(path=str(tiny_folder(folder)))
    ctx = StageContext(folder=folder / "rows", run_folder=folder, outputs={}, model=model, seed=0)
    output = stage.run(parse(stage.config, {"id": "rows", "trajectories": [str(store)], **config}, where="test"), ctx)
    rows = [json.loads(line) for line in Path(output["rows"]).read_text().splitlines()]
    return rows, json.loads(Path(output["report"]).read_text())


def tiny_folder(folder: Path) -> Path:
    tiny_tokenizer().save_pretrained(folder / "tiny")
    return folder / "tiny"


def test_rendered_rows_equal_those_recorded_in_tokens(stores: Callable[[bool], Path]) -> None:
    written = {t.task_id: t for t in read_trajectories(stores(True))}
    renderer = Renderer(tiny_tokenizer(), get_protocol("markdown"))
    for spoken in read_trajectories(stores(False)):
        assert not spoken.rows
        assert render_rows(spoken, renderer) == written[spoken.task_id].rows


def test_sft_rows_train_exactly_the_messages(tmp_path: Path, stores: Callable[[bool], Path]) -> None:
    rows, report = build(tmp_path, stores(False), format="sft", mask_errors=True, filters=[{"type": "success"}])
    assert (report["rendered"], report["used"]) == (3, 3)
    for row in rows:
        said = tiny_tokenizer().decode([label for label in row["labels"] if label != -100])
        assert said.startswith("```python\n")
        assert said.endswith("```<|im_end|>```submit\nanswer\n```<|im_end|>")
        assert WRONG not in said
        assert WRONG in tiny_tokenizer().decode(row["input_ids"])


def test_dpo_pairs_prefer_the_program_over_the_stumble(tmp_path: Path, stores: Callable[[bool], Path]) -> None:
    rows, report = build(tmp_path, stores(True), format="dpo", pairs=["shared_prefix"])
    assert (report["rendered"], len(rows)) == (0, 3)
    programs = {t.task_id: t.turns[1].text for t in read_trajectories(stores(True))}
    for row in rows:
        assert tiny_tokenizer().decode(row["chosen_ids"]) == f"{programs[row['task_id']]}<|im_end|>"
        assert tiny_tokenizer().decode(row["rejected_ids"]) == f"{WRONG}<|im_end|>"
        assert tiny_tokenizer().decode(row["prompt_ids"]).endswith("<|im_start|>assistant\n")
