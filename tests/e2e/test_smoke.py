"""The smoke recipe: every stage for real, again as a no-op, on two ranks, and through kills."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
SMOKE = RECIPES / "smoke.yaml"


def call(command: list[str], cwd: Path, **env: str) -> str:
    """Run it as a user would; returns what it said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def outputs(run: Path, stage: str) -> dict[str, object]:
    (folder,) = run.glob(f"{stage}-*")
    found: dict[str, object] = json.loads((folder / "done.json").read_text())["outputs"]
    return found


def files(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run by the file's own header, with a launcher of one process."""
    folder = tmp_path_factory.mktemp("smoke")
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--num_processes", "1"]
    call([*launch, str(SMOKE)], folder, ACCELERATE_USE_CPU="true")
    return folder


@pytest.mark.slow
def test_every_stage_does_its_work(smoke: Path) -> None:
    run = smoke / "runs" / "smoke"
    demos = outputs(run, "demos")
    assert demos["submitted_correct"] == demos["count"] == 16
    assert outputs(run, "sft_rows")["count"] == 16
    assert outputs(run, "attempts")["count"] == 16
    assert outputs(run, "dpo_rows")["count"] > 0  # type: ignore[operator]
    for stage in ("sft", "dpo"):
        weights = Path(str(outputs(run, stage)["weights"]))
        assert (weights / "adapter_model.safetensors").is_file()
    stages = {json.loads(line)["stage"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    assert {"demos", "sft_rows", "sft", "attempts", "dpo_rows", "dpo", "evaluation"} <= stages
    assert (run / "report.html").stat().st_size > 0


@pytest.mark.slow
def test_another_way_in_finds_everything_done(smoke: Path) -> None:
    before = files(smoke / "runs" / "smoke")
    said = call([sys.executable, "-c", "from copilot.cli import main; main()", "run", str(SMOKE)], smoke)
    assert "nothing to do" in said
    assert files(smoke / "runs" / "smoke") == before


@pytest.mark.slow
def test_two_ranks_share_sampling_and_training(smoke: Path) -> None:
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.accelerate_cli",
        "launch",
        "--multi_gpu",
        "--num_processes",
        "2",
    ]
    arguments = ["--main_process_port", "0", str(SMOKE), "name=ranks"]
    call([*launch, *arguments], smoke, ACCELERATE_USE_CPU="true")
    one, two = smoke / "runs" / "smoke", smoke / "runs" / "ranks"
    for stage in ("demos", "attempts"):
        by_rank = outputs(two, stage)["by_rank"]
        assert isinstance(by_rank, list)
        assert len(by_rank) == 2
        assert min(by_rank) > 0
        assert sum(by_rank) == 16
        (folder,) = two.glob(f"{stage}-*")
        assert all((folder / "trajectories" / f"rank{rank}.jsonl").stat().st_size for rank in range(2))
    played = outputs(two, "evaluation")["by_rank"]
    assert isinstance(played, list)
    assert len(played) == 2
    assert min(played) > 0
    for stage in ("sft", "dpo"):
        (folder,) = two.glob(f"{stage}-*")
        assert json.loads((folder / "done.json").read_text())["processes"] == 2
        assert "rank 1 of 2" in (two / "logs" / f"{stage}.rank1.log").read_text()
    losses = []
    for run in (one, two):
        (folder,) = run.glob("sft-*")
        losses.append([json.loads(line)["loss"] for line in (folder / "losses.jsonl").read_text().splitlines()])
    # the same rows in the same global batches: half of each was the second rank's, or the losses would differ
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)


@pytest.mark.slow
def test_three_kills_lose_nothing(tmp_path: Path) -> None:
    path = Path(__file__).with_name("kill_and_resume.py")
    spec = importlib.util.spec_from_file_location("kill_and_resume", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script
    spec.loader.exec_module(script)
    assert script.main(["--kills", "3", "--output", str(tmp_path)]) == 0
