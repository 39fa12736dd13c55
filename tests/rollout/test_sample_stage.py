"""The sample stage: one process or two, killed or not, every (task, attempt) is there exactly once."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copilot.config import parse
from copilot.data.store import StoreReport, TrajectoryWriter, read_trajectories
from copilot.data.trajectory import Trajectory
from copilot.envs.sources.base import get_source
from copilot.envs.suites import write_suite
from copilot.errors import CopilotError, DataError, RecipeError
from copilot.recipe.ranks import free_port
from copilot.recipe.schema import ModelConfig
from copilot.rollout.selection import gather_tasks
from copilot.stages.base import StageContext, get_stage, stage_types
from copilot.stages.sample import SampleConfig, check_data_use, run

TRAIN = [{"source": "clinical_calc", "split": "train", "limit": 6}]
ROLLOUT = {"sandbox": {"require": "none"}, "prompt": {"brief": True}, "concurrency": 4}


def config(**changes: Any) -> dict[str, Any]:
    return {"id": "teach", "policy": {"type": "reference"}, "sources": TRAIN, "rollout": ROLLOUT, **changes}


def context(folder: Path, **changes: Any) -> StageContext:
    return StageContext(folder=folder, run_folder=folder, outputs={}, model=ModelConfig(path="tiny"), seed=3, **changes)


def sample(*, raw: dict[str, Any], folder: Path, rank: int = 0, world: int = 1, pause: float = 0.0) -> dict[str, Any]:
    """Runs the stage as one rank; ``pause`` seconds after every written episode leave time to be killed in."""
    append = TrajectoryWriter.append

    def slowly(self: TrajectoryWriter, trajectory: Trajectory) -> None:
        append(self, trajectory)
        time.sleep(pause)

    TrajectoryWriter.append = slowly  # type: ignore[method-assign]
    ctx = context(folder, rank=rank, local_rank=rank, world_size=world, stage_id="teach")
    return run(parse(SampleConfig, raw, where="test"), ctx)


def test_it_is_registered() -> None:
    assert "sample" in stage_types()
    assert get_stage("sample").config is SampleConfig


def test_the_reference_solves_what_it_plays_and_a_second_run_plays_nothing(tmp_path: Path) -> None:
    parsed = parse(SampleConfig, config(attempts=2), where="test")
    first = run(parsed, context(tmp_path))
    assert first["count"] == first["submitted_correct"] == first["any_attempt_correct"] == 12
    assert (first["by_rank"], first["masked"], first["tasks"], first["label"]) == ([12], 0, 6, "reference")
    written = list(read_trajectories(Path(first["trajectories"])))
    assert first["tokens"] == sum(sum(row.mask) for t in written for row in t.rows)
    before = (Path(first["trajectories"]) / "rank0.jsonl").read_bytes()
    second = run(parsed, context(tmp_path))
    assert second == first | {"by_rank": [0]}
    assert (Path(first["trajectories"]) / "rank0.jsonl").read_bytes() == before
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert metrics[0]["count"] == 12


@pytest.mark.parametrize("protocol", ["json", "tools", "markdown"])
def test_the_reference_speaks_every_protocol(tmp_path: Path, protocol: str) -> None:
    rollout = {**ROLLOUT, "protocol": protocol, "prompt": {"examples": 1}}
    outputs = run(parse(SampleConfig, config(rollout=rollout), where="test"), context(tmp_path))
    assert outputs["count"] == outputs["submitted_correct"] == 6
    assert outputs["forks"] == 0
    for trajectory in read_trajectories(tmp_path / "trajectories"):
        (row,) = trajectory.rows
        assert [span.turn for span in row.spans] == [turn.index for turn in trajectory.turns]


def test_two_ranks_share_the_work(tmp_path: Path, start_rank: Callable[..., Any]) -> None:
    port, raw = free_port(), config(attempts=3)
    ranks = [start_rank(sample, port=port, raw=raw, folder=tmp_path, rank=rank, world=2) for rank in range(2)]
    outputs, other = [rank.result() for rank in ranks]
    assert outputs["count"] == sum(outputs["by_rank"]) == 18
    assert all(outputs["by_rank"])
    assert other == {}
    report = StoreReport()
    keys = [t.key for t in read_trajectories(tmp_path / "trajectories", report=report)]
    assert len(set(keys)) == 18
    assert (report.lines, report.duplicates) == (18, 0)
    shards = sorted(p.name for p in (tmp_path / "trajectories").glob("*.jsonl"))
    assert shards == ["rank0.jsonl", "rank1.jsonl"]


def test_killed_at_any_point_it_goes_on_where_it_was(tmp_path: Path, start_rank: Callable[..., Any]) -> None:
    raw = config(attempts=3)
    shard = tmp_path / "trajectories" / "rank0.jsonl"
    kept: list[bytes] = []
    for wanted in (2, 7):
        rank = start_rank(sample, raw=raw, folder=tmp_path, pause=0.1)
        while not shard.exists() or shard.read_bytes().count(b"\n") < wanted:
            assert rank.process.is_alive()
            time.sleep(0.01)
        rank.kill()
        lines = shard.read_bytes().split(b"\n")[:-1]
        assert lines[: len(kept)] == kept
        kept = lines
    outputs = start_rank(sample, raw=raw, folder=tmp_path).result()
    lines = shard.read_bytes().split(b"\n")[:-1]
    assert lines[: len(kept)] == kept
    assert outputs["count"] == len(lines) == 18
    assert len({(line["task_id"], line["attempt"]) for line in map(json.loads, lines)}) == 18


def test_tasks_come_from_a_suite_file_or_from_sources(tmp_path: Path) -> None:
    tasks = list(get_source("clinical_calc").tasks("valid", limit=4))
    write_suite(tmp_path / "four.jsonl", tasks)
    both = parse(SampleConfig, config(suite=str(tmp_path / "four.jsonl"), limit=7), where="test")
    assert [t.id for t in gather_tasks(both, where="teach")][:4] == [t.id for t in tasks]
    assert len(gather_tasks(both, where="teach")) == 7
    twice = parse(SampleConfig, config(sources=TRAIN * 2), where="test")
    with pytest.raises(DataError, match="listed twice"):
        gather_tasks(twice, where="teach")


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (config(sources=[]), "name a suite, or list sources or cuts"),
        (config(adapter="sft"), "takes no adapter"),
        (config(polcy={}), "did you mean 'policy'"),
        (config(attempts=0), "greater than or equal to 1"),
    ],
)
def test_faulty_configs_are_named(raw: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        parse(SampleConfig, raw, where="test")


def test_labels_and_upstream() -> None:
    def parsed(**changes: Any) -> SampleConfig:
        return parse(SampleConfig, config(**changes), where="test")

    assert parsed().policy_label() == "reference"
    assert parsed(policy={"type": "vllm"}).policy_label() == "base"
    assert parsed(policy={"type": "openai", "model": "gpt"}).policy_label() == "gpt"
    tuned = parsed(policy={"type": "vllm"}, adapter="sft")
    assert (tuned.policy_label(), tuned.upstream()) == ("sft", ["sft"])
    folder = parsed(policy={"type": "vllm"}, adapter="out/tuned/")
    assert (folder.policy_label(), folder.upstream()) == ("tuned", [])


def test_credentialed_data_stays_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(get_source("clinical_calc")), "credentialed", True)
    api = parse(SampleConfig, config(policy={"type": "openai", "model": "m"}), where="test").policy
    own = parse(SampleConfig, config(policy={"type": "openai", "model": "m", "third_party": False}), where="t").policy
    with pytest.raises(RecipeError, match=r"clinical_calc.*third party"):
        check_data_use(api, [("clinical_calc", "clinical_calc/train/1")], context(tmp_path))
    check_data_use(api, [("clinical_calc", "clinical_calc/train/1")], context(tmp_path, data_use="permitted"))
    check_data_use(own, [("clinical_calc", "clinical_calc/train/1")], context(tmp_path))


def test_the_mark_of_a_credentialed_task_outlives_its_data(tmp_path: Path) -> None:
    api = parse(SampleConfig, config(policy={"type": "openai", "model": "m"}), where="test").policy
    with pytest.raises(RecipeError, match=r"ehr_sql.*third party"):
        check_data_use(api, [("ehr_sql", "ehr_sql/train/1"), ("ehr_sql", "ehr_sql/train/dua-2")], context(tmp_path))
    check_data_use(api, [("ehr_sql", "ehr_sql/train/1")], context(tmp_path))


def test_nothing_that_comes_through_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = config(policy={"type": "openai", "model": "m", "url": "http://127.0.0.1:9/v1", "retries": 0})
    broken["rollout"] = {**ROLLOUT, "retries": 0}
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with pytest.raises(CopilotError):
        run(parse(SampleConfig, broken, where="test"), context(tmp_path))
