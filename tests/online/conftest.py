"""A tiny model that has learned to act but not what is right, two tasks it can learn that on, and the stage runner."""

import json
import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from copilot.envs.actions import Feedback
from copilot.envs.prompt import PromptConfig, compose
from copilot.envs.protocols import get_protocol
from copilot.envs.suites import write_suite
from copilot.envs.task import Reference, Task
from copilot.models.tiny import make_tiny
from copilot.policy.tokens import load_tokenizer
from copilot.recipe.schema import ModelConfig
from copilot.reward.answers import IntegerAnswer
from copilot.rollout.rendering import Renderer
from copilot.stages.base import StageContext, get_stage

PROMPT = PromptConfig(brief=True, context=False)
QUESTIONS = {"arm": "Pick an arm: 1 or 2.", "cell": "Combine 6 and 7."}
RIGHT = {"arm": 2, "cell": 42}
Messages = list[str]

_ARMS: list[Messages] = [["```submit\n1\n```"], ["```submit\n2\n```"]]
_CELLS: list[Messages] = [
    [f"```python\nanswer = 6 {sign} 7\n```", "```submit\nanswer\n```"] for sign in ("+", "-", "*")
]
_FEEDBACK = {"+": "answer = 13", "-": "answer = -1", "*": "answer = 42"}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def make_task(kind: str, number: int) -> Task:
    return Task(
        id=f"{kind}/train/{number}",
        source="clinical_calc",
        split="train",
        question=QUESTIONS[kind],
        reference=Reference(answer=IntegerAnswer(value=RIGHT[kind])),
    )


@pytest.fixture(scope="session")
def suites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Suite files by kind: ``arm`` is answered in one message, ``cell`` needs the sandbox and two."""
    folder = tmp_path_factory.mktemp("suites")
    for kind in QUESTIONS:
        write_suite(folder / f"{kind}.jsonl", [make_task(kind, number) for number in range(4)])
    return {kind: str(folder / f"{kind}.jsonl") for kind in QUESTIONS}


@pytest.fixture(scope="session")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model after a few seconds of demonstrations of every arm and every cell, right and wrong alike."""
    folder = make_tiny(tmp_path_factory.mktemp("models") / "actor")
    tokenizer = load_tokenizer(str(folder))
    renderer = Renderer(tokenizer, get_protocol("markdown"))
    rows = [_demonstration(renderer, "arm", said) for said in _ARMS]
    rows += [_demonstration(renderer, "cell", said) for said in _CELLS]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    adam = torch.optim.AdamW(model.parameters(), lr=3e-3)
    order = random.Random(0)
    for _ in range(150):
        loss = torch.zeros(())
        for ids, labels in order.sample(rows, 5):
            loss = loss + model(input_ids=ids, labels=labels).loss / 5
        loss.backward()
        adam.step()
        adam.zero_grad()
    model.save_pretrained(folder)
    return folder


def _demonstration(renderer: Renderer, kind: str, said: Messages) -> tuple[torch.Tensor, torch.Tensor]:
    task = make_task(kind, 0)
    ids = renderer.prompt_ids(compose(task, renderer.protocol, PROMPT), task.permitted)
    labels = [-100] * len(ids)
    for turn, text in enumerate(said):
        message = renderer.encode_assistant(text)
        ids, labels = ids + message, labels + message
        if turn + 1 < len(said):
            sign = next(sign for sign in _FEEDBACK if f" {sign} " in text)
            feedback = renderer.feedback_ids(renderer.protocol.feedback_message(Feedback(text=_FEEDBACK[sign])))
            ids, labels = ids + feedback, labels + [-100] * len(feedback)
    return torch.tensor([ids]), torch.tensor([labels])


def stage_config(kind: str, suite: str, **changes: Any) -> dict[str, Any]:
    """A small online stage; ``changes`` replace sections."""
    return {
        "id": "rl",
        "type": kind,
        "policy": {"type": "transformers", "dtype": "float32", "max_model_len": 512},
        "suite": suite,
        "rollout": {
            "prompt": {"brief": True, "context": False},
            "max_turns": 2,
            "concurrency": 16,
            "sampling": {"temperature": 1.0, "max_tokens": 32},
            "sandbox": {"require": "none"},
        },
        "steps": 10,
        "groups": 4,
        "group_size": 8,
        "training": {"learning_rate": 6e-3, "warmup_ratio": 0.0, "schedule": "linear", "lora": {"r": 8, "alpha": 16}},
    } | changes


RunOnline = Callable[..., list[dict[str, float]]]


@pytest.fixture
def run_online(actor: Path, suites: dict[str, str], tmp_path: Path) -> RunOnline:
    """``run_online(kind, suite, **changes)``: the step records; the stage's folder is ``tmp_path / "stage"``."""

    def run(kind: str, suite: str, *, seed: int = 0, **changes: Any) -> list[dict[str, float]]:
        stage = get_stage(kind)
        config = stage.config.model_validate(stage_config(kind, suites[suite], **changes))
        ctx = StageContext(
            folder=tmp_path / "stage",
            run_folder=tmp_path,
            outputs={},
            model=ModelConfig(path=str(actor), dtype="float32"),
            seed=seed,
            stage_id="rl",
        )
        ctx.folder.mkdir(exist_ok=True)
        outputs = stage.run(config, ctx)
        lines = Path(outputs["figures"]).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return run


# Runs in a process whose server has imported everything and computed nothing: forking one that has computed would
# leave its thread pools behind.
_RUN_STAGE = """
import os
from pathlib import Path
os.environ.update(job["env"])
from copilot.recipe.schema import ModelConfig
from copilot.stages.base import StageContext, get_stage
stage = get_stage(job["kind"])
folder = Path(job["folder"])
(folder / "stage").mkdir(exist_ok=True)
rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
stage.run(stage.config.model_validate(job["config"]), StageContext(
    folder=folder / "stage", run_folder=folder, outputs={}, model=ModelConfig(path=job["model"], dtype="float32"),
    seed=1, rank=rank, local_rank=rank, world_size=size, stage_id="rl"))
"""

FreshStage = Callable[..., Any]


@pytest.fixture
def fresh_stage(actor: Path, suites: dict[str, str], tmp_path: Path) -> FreshStage:
    """``fresh_stage(kind, suite, env=..., **changes)``: a started process that runs the stage in ``tmp_path``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["copilot.online.loop", "copilot.policy.transformers_engine", "peft"])

    def start(kind: str, suite: str, *, env: dict[str, str] | None = None, **changes: Any) -> Any:
        config = stage_config(kind, suites[suite], **changes)
        job = {"kind": kind, "folder": str(tmp_path), "model": str(actor), "config": config, "env": env or {}}
        process = context.Process(target=exec, args=(_RUN_STAGE, {"job": job}))
        process.start()
        return process

    return start
