"""The build stage end to end on hand-made stores."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from copilot.config import parse
from copilot.data.store import TrajectoryWriter
from copilot.envs.suites import write_suite
from copilot.envs.task import Reference, Task
from copilot.errors import DataError, EmptyDatasetError, RecipeError
from copilot.recipe.schema import ModelConfig
from copilot.reward.answers import IntegerAnswer
from copilot.stages import StageContext, get_stage


def store(folder: Path, trajectories: list[Any]) -> Path:
    with TrajectoryWriter(folder / "rank0.jsonl") as writer:
        for trajectory in trajectories:
            writer.append(trajectory)
    return folder


def run(tmp_path: Path, outputs: dict[str, Any], **config: Any) -> SimpleNamespace:
    stage = get_stage("build")
    ctx = StageContext(
        folder=tmp_path / "run" / "rows",
        run_folder=tmp_path / "run",
        outputs=outputs,
        model=ModelConfig(path="x"),
        seed=0,
    )
    ctx.folder.mkdir(parents=True, exist_ok=True)
    output = stage.run(parse(stage.config, {"type": "build", "id": "rows", **config}, where="test"), ctx)
    rows = [json.loads(line) for line in Path(output["rows"]).read_text().splitlines()]
    return SimpleNamespace(output=output, rows=rows, report=json.loads(Path(output["report"]).read_text()))


def test_sft_from_a_sample_stage(tmp_path: Path, make: Any) -> None:
    folder = store(
        tmp_path / "s",
        [
            make.trajectory(attempt=1),
            make.trajectory(attempt=2, correct=False),
            make.trajectory(attempt=3, failed=True),
        ],
    )
    done = run(
        tmp_path,
        {"sample": {"trajectories": str(folder)}},
        format="sft",
        trajectories=["sample"],
        filters=[{"type": "success"}],
    )
    assert done.output["count"] == 1
    assert done.output["format"] == "sft"
    assert done.rows == [
        {
            "input_ids": [1, 2, 3, 10, 11, 7, 8, 12, 13],
            "labels": [-100, -100, -100, 10, 11, -100, -100, 12, 13],
            "task_id": "demo/train/0",
            "attempt": 1,
        }
    ]
    assert done.report["dropped"] == {"masked (infrastructure failure)": 1, "not submitted correct": 1}
    assert done.report["stores"]["sample"]["kept"] == 3
    logged = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert logged["input"] == 3
    assert logged["dropped/not submitted correct"] == 1


def test_a_second_run_writes_the_same_bytes(tmp_path: Path, make: Any) -> None:
    folder = store(tmp_path / "s", [make.trajectory(f"demo/train/{i}") for i in range(9)])
    config = {"format": "sft", "trajectories": [str(folder)], "limit": 4}
    first = Path(run(tmp_path, {}, **config).output["rows"]).read_bytes()
    assert Path(run(tmp_path, {}, **config).output["rows"]).read_bytes() == first
    assert first.count(b"\n") == 4


def test_nothing_left_is_one_clear_error(tmp_path: Path, make: Any) -> None:
    folder = store(tmp_path / "s", [make.trajectory(correct=False)])
    with pytest.raises(EmptyDatasetError, match="no sft rows from 1 trajectories: 1 not submitted correct"):
        run(tmp_path, {}, format="sft", trajectories=[str(folder)], filters=[{"type": "success"}])


def test_bad_entries_are_named(tmp_path: Path, make: Any) -> None:
    folder = str(store(tmp_path / "s", [make.trajectory()]))
    with pytest.raises(RecipeError, match="no earlier stage 'sampel'"):
        run(tmp_path, {"sample": {"trajectories": folder}}, format="sft", trajectories=["sampel"])
    with pytest.raises(DataError, match="no such trajectory"):
        run(tmp_path, {}, format="sft", trajectories=["./absent"])
    with pytest.raises(RecipeError, match=r"unknown key .*rul.*did you mean 'rule'"):
        run(tmp_path, {}, format="sft", trajectories=[folder], filters=[{"type": "success", "rul": "submitted"}])
    with pytest.raises(RecipeError, match="give every store a share"):
        run(tmp_path, {}, format="sft", trajectories=[folder, {"store": "./other", "share": 0.5}])


def test_held_out_questions_are_left_out_and_overlaps_reported(tmp_path: Path, make: Any) -> None:
    phrase = "of how many patients was the heart rate above ninety beats"
    reference = Reference(answer=IntegerAnswer(value=1))
    asked = Task(id="demo/test/0", source="demo", split="test", question="Who is it?", reference=reference)
    write_suite(tmp_path / "held.jsonl", [asked, asked.evolve(id="demo/test/1", question=f"{phrase} in May?")])
    folder = store(
        tmp_path / "s",
        [
            make.trajectory("demo/train/0", question="who is it"),
            make.trajectory("demo/train/1", question=f"{phrase} in June?"),
            make.trajectory("demo/train/2", question="What else?"),
        ],
    )
    done = run(tmp_path, {}, format="sft", trajectories=[str(folder)], held_out=[str(tmp_path / "held.jsonl")])
    assert [row["task_id"] for row in done.rows] == ["demo/train/1", "demo/train/2"]
    assert done.report["dropped"] == {"held-out question": 1}
    assert (done.report["held_out"]["same_question"], done.report["held_out"]["shared_ngram"]) == (1, 1)


def test_shares_mix_stores_and_broken_lines_are_reported(tmp_path: Path, make: Any) -> None:
    on = store(tmp_path / "on", [make.trajectory(f"demo/train/{i}") for i in range(12)])
    off = store(tmp_path / "off", [make.trajectory(f"demo/train/{i}") for i in range(4)])
    with open(off / "rank0.jsonl", "a") as file:
        file.write("{}\n{")
    mixture = [{"store": "on", "share": 0.75}, {"store": str(off), "share": 0.25}]
    done = run(tmp_path, {"on": {"trajectories": str(on)}}, format="sft", trajectories=mixture, limit=8)
    assert done.report["by_store"] == {"on": 6, str(off): 2}
    assert (done.report["stores"][str(off)]["bad"], done.report["stores"][str(off)]["half"]) == (1, 1)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text())["unreadable_lines"] == 2


def test_upstream_is_what_has_no_slash() -> None:
    config = get_stage("build").config.model_validate(
        {
            "id": "b",
            "format": "sft",
            "trajectories": [{"store": "base", "share": 0.5}, {"store": "/old/one", "share": 0.5}],
        }
    )
    assert config.upstream() == ["base"]


def test_scores_pair_the_best_right_with_the_worst_wrong_attempt(tmp_path: Path, make: Any) -> None:
    attempts = [
        make.trajectory(attempt=i, steps=[make.code((20 + i,)), make.submit((30 + i,))], correct=i < 2)
        for i in range(4)
    ]
    outputs = {"sample": {"trajectories": str(store(tmp_path / "s", attempts))}}
    scores = {0: 0.3, 1: 0.8, 2: 0.6, 3: 0.1}
    path = tmp_path / "scores.jsonl"

    def write(attempts: list[int]) -> None:
        lines = [
            {"store": "sample", "task_id": "demo/train/0", "attempt": i, "score": scores[i], "logit": 0.0}
            for i in attempts
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    outputs["scored"] = {"scores": str(path)}
    config = {"format": "dpo", "pairs": ["best_vs_worst"], "trajectories": ["sample"], "scores": "scored"}
    write([0, 1, 2, 3])
    done = run(tmp_path, outputs, **config, max_per_task=1)
    assert done.report["used"] == 2
    chosen, rejected = attempts[1], attempts[3]
    assert (done.rows[0]["chosen_ids"], done.rows[0]["rejected_ids"]) == tuple(
        list(t.rows[0].ids[3:]) for t in (chosen, rejected)
    )
    write([0, 1, 2])
    with pytest.raises(DataError, match="1 of 4 trajectories have no score"):
        run(tmp_path, outputs, **config)


def test_verifier_rows_from_a_sample_stage(tmp_path: Path, make: Any) -> None:
    folder = store(tmp_path / "s", [make.trajectory(attempt=i, correct=i == 0) for i in range(3)])
    outputs = {"sample": {"trajectories": str(folder)}}
    done = run(tmp_path, outputs, format="verifier", trajectories=["sample"])
    assert [row["label"] for row in done.rows] == [True, False]
    assert done.report["dropped"] == {"more of its label than of the other": 1}
    with pytest.raises(RecipeError, match="scores go with format: dpo"):
        run(tmp_path, outputs, format="verifier", trajectories=["sample"], scores="x")
