"""Rollouts during updates, full weights, and what every step's record holds."""

import json
from pathlib import Path

from copilot.data.store import read_trajectories
from copilot.online.rows import version_of

from .conftest import RunOnline


def test_rollouts_go_on_during_updates_within_the_bound(run_online: RunOnline, tmp_path: Path) -> None:
    steps = run_online(
        "grpo", "arm", steps=5, group_size=4, staleness={"bound": 1}, dynamic_sampling={"enabled": False}
    )
    assert max(record["staleness_max"] for record in steps) == 1
    assert steps[0]["staleness_max"] == 0
    assert all(record["groups_stale"] == 0 for record in steps)
    versions = [version_of(t.turns[0].policy_version) for t in read_trajectories(tmp_path / "stage" / "rollouts")]
    assert max(versions) >= 3, "new versions are used as they come"


def test_full_weights_are_served_as_they_are_trained(run_online: RunOnline, tmp_path: Path) -> None:
    training = {"method": "full", "learning_rate": 1e-3, "warmup_ratio": 0.0}
    steps = run_online("grpo", "arm", steps=3, group_size=4, training=training, dynamic_sampling={"enabled": False})
    assert (tmp_path / "stage" / "weights" / "model.safetensors").is_file()
    assert all(record["server_difference"] < 1e-3 for record in steps), "what is served is what is trained"
    assert all(record["staleness_max"] == 0 for record in steps)


def test_a_steps_record(run_online: RunOnline, tmp_path: Path) -> None:
    (record,) = run_online("grpo", "cell", steps=1, rewards={"answer": 1.0, "execution": 0.2})
    for name in (
        "reward", "reward/answer", "reward/execution", "solved/clinical_calc", "reward_std_in_group", "groups_flat",
        "masked/over-long", "masked/infrastructure", "masked/no reward", "kl", "entropy", "clip_low", "clip_high",
        "ratio_max", "server_ratio_max", "server_difference", "server_tail", "staleness", "junk_reward", "junk_share",
        "kinds_unsolved",
        "seconds/rollout", "seconds/update", "seconds/sync", "tokens_per_second/update", "memory_gb", "grad_norm", "lr",
    ):  # fmt: skip
        assert name in record, name
    assert abs(record["kl"]) < 1e-6, "the first KL is zero"
    assert record["server_difference"] < 1e-3
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["reward"] == record["reward"]
