"""Kill -9 in the middle, two processes, DeepSpeed: the steps are those of one undisturbed process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copilot.training.checkpoints import MARKER, last_complete, remove_partial
from copilot.training.recording import cut_losses

Rows = Callable[[str, int], list[dict[str, Any]]]

_CHILD = """
import json, os, sys
from pathlib import Path
from copilot.recipe.schema import ModelConfig
from copilot.stages.base import StageContext, get_stage
job = json.loads(sys.argv[1])
stage = get_stage(job["kind"])
config = stage.config.model_validate({"id": "s", "type": job["kind"], "rows": "build", "training": job["training"]})
folder = Path(job["folder"])
stage.run(config, StageContext(
    folder=folder / "stage", run_folder=folder, outputs={"build": {"rows": job["rows"]}},
    model=ModelConfig(path=job["model"], dtype="float32"), seed=3, rank=int(os.environ.get("RANK", 0)),
    local_rank=int(os.environ.get("LOCAL_RANK", 0)), world_size=int(os.environ.get("WORLD_SIZE", 1))))
"""


def training(**changes: Any) -> dict[str, Any]:
    base = {"batch_size": 4, "micro_batch_size": 2, "learning_rate": 1e-2, "lora": {"r": 4, "alpha": 8, "dropout": 0.1}}
    return base | {"epochs": 3, "save_every_steps": 2} | changes


class Run:
    """A stage in a process (or two) of its own."""

    def __init__(self, folder: Path, tiny: Path, kind: str, rows: list[dict[str, Any]], **changes: Any) -> None:
        (folder / "stage").mkdir(parents=True)
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self.folder = folder
        job = {
            "kind": kind,
            "rows": str(path),
            "folder": str(folder),
            "model": str(tiny),
            "training": training(**changes),
        }
        self._command = [sys.executable, "-c", _CHILD, json.dumps(job)]

    def start(self, *, processes: int = 1, **environment: str) -> list[subprocess.Popen[bytes]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}
        if processes > 1 or environment:
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
            env |= {"ACCELERATE_USE_CPU": "true", "LOCAL_WORLD_SIZE": str(processes)}
        started = []
        for rank in range(processes):
            with open(self.folder / f"log{rank}.txt", "ab") as log:
                mine = env | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if "WORLD_SIZE" in env else {})
                started.append(subprocess.Popen(self._command, env=mine, stdout=log, stderr=log))
        return started

    def finish(self, **how: Any) -> list[dict[str, Any]]:
        for process in self.start(**how):
            assert process.wait() == 0, self.log()
        return self.losses()

    def log(self) -> str:
        return (self.folder / "log0.txt").read_text(encoding="utf-8")[-3000:]

    def losses(self) -> list[dict[str, Any]]:
        path = self.folder / "stage" / "losses.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]], tolerance: float = 1e-4) -> None:
    assert [record["step"] for record in found] == [record["step"] for record in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=tolerance), f"step {mine['step']}"


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_killed_runs_end_with_the_losses_of_an_undisturbed_one(
    tiny: Path, tmp_path: Path, make_rows: Rows, kind: str
) -> None:
    rows = make_rows(kind, 8)
    expected = Run(tmp_path / "calm", tiny, kind, rows).finish()
    assert len(expected) == 6
    run = Run(tmp_path / "killed", tiny, kind, rows)
    (process,) = run.start()
    deadline = time.monotonic() + 300
    while len(run.losses()) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    interrupted = run.losses()
    assert len(interrupted) >= 3, run.log()
    assert_same(run.finish(), expected)


def test_a_half_written_checkpoint_is_not_resumed_from(tiny: Path, tmp_path: Path, make_rows: Rows) -> None:
    for step, files in {2: [MARKER], 4: ["adapter_model.safetensors", "trainer_state.json"]}.items():
        (tmp_path / f"checkpoint-{step}").mkdir()
        for name in files:
            (tmp_path / f"checkpoint-{step}" / name).touch()
    assert last_complete(tmp_path) == tmp_path / "checkpoint-2"
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def test_losses_are_cut_at_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste', encoding="utf-8")
    cut_losses(path, 2)
    assert path.read_text(encoding="utf-8") == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_two_processes_take_the_steps_of_one(tiny: Path, tmp_path: Path, make_rows: Rows, kind: str) -> None:
    rows = make_rows(kind, 8)
    plain = {"lora": {"r": 4, "alpha": 8}, "micro_batch_size": 1}
    expected = Run(tmp_path / "one", tiny, kind, rows, **plain).finish()
    run = Run(tmp_path / "two", tiny, kind, rows, **plain)
    assert_same(run.finish(processes=2), expected)
    assert {"engine": "ddp", "world_size": 2}.items() <= run.metrics()[1].items()


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_is_really_used_and_takes_the_same_steps(
    tiny: Path, tmp_path: Path, make_rows: Rows, stage: int
) -> None:
    pytest.importorskip("deepspeed")
    rows = make_rows("sft", 8)
    plain = {"lora": {"r": 4, "alpha": 8}, "micro_batch_size": 1}
    expected = Run(tmp_path / "plain", tiny, "sft", rows, **plain).finish()
    run = Run(tmp_path / "zero", tiny, "sft", rows, **plain, deepspeed=f"zero{stage}")
    assert_same(run.finish(processes=2), expected)
    assert {"engine": f"deepspeed-zero{stage}", "world_size": 2}.items() <= run.metrics()[1].items()
