"""The reward term that a trained verifier says: what was trained on is what its scorer gives, and it can be learned."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from copilot.data.build_verifier import build_verifier
from copilot.data.rows import Sample
from copilot.data.store import read_trajectories
from copilot.data.trajectory import Trajectory
from copilot.online.config import GrpoConfig
from copilot.policy.config import TransformersConfig
from copilot.recipe.schema import ModelConfig
from copilot.reward.terms import reward_of
from copilot.stages.base import StageContext, get_stage
from copilot.verifier.factory import make_scorer

from .conftest import RunOnline, stage_config

ENGINE = {"type": "transformers", "dtype": "float32"}


def train_verifier(folder: Path, actor: Path, trajectories: list[Trajectory]) -> str:
    """A verifier of the tiny model's, from episodes that were played."""
    folder.mkdir()
    held = {"arm/train/2", "arm/train/3"}
    outputs = {}
    for name in ("rows", "held"):
        part = [Sample("store", t) for t in trajectories if (t.task_id in held) == (name == "held")]
        rows = build_verifier(part, balance="none").rows
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row.record) + "\n" for row in rows), encoding="utf-8")
        outputs[name] = {"rows": str(path)}
    stage = get_stage("verifier")
    training = {"batch_size": 8, "micro_batch_size": 8, "learning_rate": 1e-2, "epochs": 6, "save_every_steps": 0}
    config = {
        "id": "v",
        "type": "verifier",
        "rows": "rows",
        "validation": "held",
        "verifier": {"max_tokens": 512},
        "training": training,
    }
    ctx = StageContext(
        folder=folder / "stage",
        run_folder=folder,
        outputs=outputs,
        model=ModelConfig(path=str(actor), dtype="float32"),
        seed=0,
    )
    return str(stage.run(stage.config.model_validate(config), ctx)["weights"])


def scores_of(weights: str, trajectories: list[Trajectory], folder: Path) -> list[float]:
    async def run() -> list[float]:
        scorer = make_scorer(weights, TransformersConfig(dtype="float32"), log_folder=folder)
        await scorer.start()
        try:
            return await scorer.score(trajectories)
        finally:
            await scorer.close()

    return asyncio.run(run())


def test_a_policy_learns_from_a_verifier_alone(run_online: RunOnline, actor: Path, tmp_path: Path) -> None:
    run_online("grpo", "arm", steps=1, groups=8)
    played = list(read_trajectories(tmp_path / "stage" / "rollouts"))
    weights = train_verifier(tmp_path / "verifier", actor, played)
    (tmp_path / "stage").rename(tmp_path / "first")
    records = run_online(
        "grpo",
        "arm",
        steps=8,
        rewards={"verifier": 1.0},
        verifier={"weights": weights, "engine": ENGINE},
        dynamic_sampling={"enabled": False},
    )
    assert [record["reward"] for record in records] == [record["reward/verifier"] for record in records]
    assert all(record["junk_reward"] == 0 for record in records)
    assert records[-1]["reward"] > records[0]["reward"]
    assert records[-1]["solved"] > records[0]["solved"]
    played = list(read_trajectories(tmp_path / "stage" / "rollouts"))
    first = [t for t in played if t.attempt < 4 * 8 and not t.masked]
    mean = sum(scores_of(weights, first, tmp_path)) / len(first)
    assert records[0]["reward"] == pytest.approx(mean, abs=1e-3)


def test_term_and_section_go_together(suites: dict[str, str]) -> None:
    for changes in ({"rewards": {"verifier": 1.0}}, {"verifier": {"weights": "v"}}):
        with pytest.raises(ValidationError, match="go together"):
            GrpoConfig.model_validate(stage_config("grpo", suites["arm"], **changes))
    both: dict[str, Any] = {"rewards": {"answer": 1.0, "verifier": 0.5}, "verifier": {"weights": "v"}, "adapter": "sft"}
    assert GrpoConfig.model_validate(stage_config("grpo", suites["arm"], **both)).upstream() == ["sft", "v"]


def test_an_episode_without_a_score_is_masked(run_online: RunOnline, tmp_path: Path) -> None:
    run_online("grpo", "arm", steps=1, groups=1)
    played = next(iter(read_trajectories(tmp_path / "stage" / "rollouts")))
    assert reward_of(played, {"verifier": 1.0}).total is None
    assert reward_of(played, {"verifier": 0.5}, score=0.5).total == 0.25
