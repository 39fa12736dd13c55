"""A tiny real model, episodes whose answer says whether they are right, and verifier stages run as recipes run them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copilot.data.build_verifier import build_verifier
from copilot.data.rows import Sample
from copilot.data.trajectory import Failure, Outcome, StopReason, Trajectory, Turn
from copilot.envs.actions import ExecuteCode, Feedback, Submit
from copilot.models.tiny import make_tiny
from copilot.recipe.schema import ModelConfig
from copilot.stages.base import StageContext, get_stage

Episodes = Callable[..., list[Trajectory]]
RunVerifier = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch  # here, so that tests without a model start at once

    torch.set_num_threads(1)
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


def make_episode(
    task: int | str,
    attempt: int,
    *,
    right: bool,
    answer: Any = None,
    turns: int = 1,
    split: str = "test",
    failed: bool = False,
) -> Trajectory:
    value = ("True" if right else "False") if answer is None else answer
    steps = [
        Turn(
            index=i,
            text=f"x = {attempt} + {i}",
            action=ExecuteCode(code=f"x = {attempt} + {i}"),
            feedback=Feedback(text=f"answer = {attempt}"),
            attempt_correct=right,
            prompt_tokens=20,
            completion_tokens=5,
        )
        for i in range(turns)
    ]
    last = Turn(
        index=turns,
        text="submit answer",
        action=Submit(variable="answer"),
        feedback=Feedback(text="Submitted.", status="submitted"),
        attempt_correct=right,
    )
    return Trajectory(
        task_id=f"demo/{task}",
        attempt=attempt,
        source="demo",
        split=split,
        policy="sft",
        protocol="markdown",
        prompt=({"role": "user", "content": f"How many patients are in ward {task}?"},),
        turns=(*steps, last),
        outcome=Outcome(submitted=True, submitted_correct=right, any_attempt_correct=right, answer=value),
        stop_reason=StopReason.FAILURE if failed else StopReason.SUBMITTED,
        failure=Failure(boundary="sandbox", message="gone") if failed else None,
    )


@pytest.fixture(scope="session")
def episode() -> Callable[..., Trajectory]:
    return make_episode


@pytest.fixture(scope="session")
def episodes() -> Episodes:
    """``episodes(tasks, attempts, first=0, split="test")``: a third of the attempts right, spread over the tasks."""

    def make(tasks: int, attempts: int, *, first: int = 0, split: str = "test") -> list[Trajectory]:
        return [
            make_episode(task, attempt, right=(task + attempt) % 3 == 0, split=split)
            for task in range(first, first + tasks)
            for attempt in range(attempts)
        ]

    return make


def text_rows(trajectories: list[Trajectory], balance: str, *, merged: bool) -> list[dict[str, Any]]:
    samples = [Sample("store", trajectory) for trajectory in trajectories]
    records = [row.record for row in build_verifier(samples, balance=balance).rows]  # type: ignore[arg-type]
    return records if merged else [{**r, "copies": 1} for r in records for _ in range(r["copies"])]


def context(folder: Path, tiny: Path, outputs: dict[str, Any]) -> StageContext:
    return StageContext(
        folder=folder / "stage",
        run_folder=folder,
        outputs=outputs,
        model=ModelConfig(path=str(tiny), dtype="float32"),
        seed=3,
    )


@pytest.fixture
def run_verifier(tiny: Path, tmp_path: Path, episodes: Episodes) -> RunVerifier:
    """``run_verifier(folder="v", train=..., validation=..., merged=True, verifier={}, **training)``: outputs, losses,
    folder. ``merged=False`` writes a row for every copy of an attempt."""

    def run(
        *,
        folder: str = "v",
        train: list[Trajectory] | None = None,
        validation: list[Trajectory] | None = None,
        merged: bool = True,
        verifier: dict[str, Any] | None = None,
        **training: Any,
    ) -> dict[str, Any]:
        run_folder = tmp_path / folder
        run_folder.mkdir(exist_ok=True)
        outputs: dict[str, Any] = {}
        parts = {"rows": (train or episodes(8, 6), "task"), "held": (validation or episodes(6, 3, first=50), "none")}
        for name, (trajectories, balance) in parts.items():
            path = run_folder / f"{name}.jsonl"
            rows = text_rows(trajectories, balance, merged=merged)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            outputs[name] = {"rows": str(path)}
        common = {"batch_size": 4, "micro_batch_size": 2, "learning_rate": 1e-2, "lora": {"r": 8, "alpha": 16}}
        stage = get_stage("verifier")
        config = stage.config.model_validate(
            {
                "id": "v",
                "type": "verifier",
                "rows": "rows",
                "validation": "held",
                "verifier": {"max_tokens": 256} | (verifier or {}),
                "training": common | {"epochs": 6, "save_every_steps": 0} | training,
            }
        )
        result = stage.run(config, context(run_folder, tiny, outputs))
        lines = (run_folder / "stage" / "losses.jsonl").read_text("utf-8").splitlines()
        return {**result, "losses": [json.loads(line) for line in lines], "folder": run_folder / "stage"}

    return run
