"""Runs end, resume, repeat and fail as they should, with real stage processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., Path]
Call = Callable[..., subprocess.CompletedProcess[str]]
Wait = Callable[[Callable[[], bool]], None]
Running = Callable[[int], bool]
ONE = {"id": "one", "type": "lines"}
TWO = {"id": "two", "type": "lines", "after": "one"}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


# A shell starts background jobs, such as this test's whole run may be, with SIGINT ignored, and children inherit that.
HEEDS_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"{HEEDS_INTERRUPTS}; from copilot.cli import main; main()", "run", str(path)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_a_second_call_is_a_no_op(write_recipe: Write, med_copilot: Call, tmp_path: Path) -> None:
    path = write_recipe(ONE, TWO, {"id": "three", "type": "alone"})
    first = med_copilot("run", path)
    assert first.returncode == 0, first.stderr
    run = tmp_path / "runs" / "demo"
    before = tree(run)
    assert {"recipe.yaml", "versions.json", "seeds.json", "metrics.jsonl", "logs/one.rank0.log"} <= set(before)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(r["stage"], r["step"]) for r in records] == [
        (stage, step) for stage in ("one", "two") for step in range(3)
    ]
    again = med_copilot("run", path)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert tree(run) == before


def test_a_changed_stage_runs_anew_beside_the_old(write_recipe: Write, med_copilot: Call, tmp_path: Path) -> None:
    path = write_recipe(ONE, TWO, {"id": "three", "type": "lines"})
    med_copilot("run", path)
    before = tree(tmp_path / "runs" / "demo")
    changed = med_copilot("run", path, "one.count=4")
    after = tree(tmp_path / "runs" / "demo")
    kept = {name: content for name, content in before.items() if name.split("-")[0] in ("one", "two", "three")}
    assert all(after[name] == content for name, content in kept.items())
    assert "three (lines): done before" in changed.stdout
    assert len(list((tmp_path / "runs" / "demo").glob("two-*"))) == 2


def test_dry_run_writes_nothing_and_says_the_state(write_recipe: Write, med_copilot: Call, tmp_path: Path) -> None:
    path = write_recipe(ONE, TWO)
    dry = med_copilot("run", path, "--dry-run")
    assert dry.returncode == 0
    assert not (tmp_path / "runs").exists()
    assert "# run     one" in dry.stdout
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(dry.stdout)
    assert med_copilot("run", resolved).returncode == 0
    assert "# done    one" in med_copilot("run", path, "--dry-run").stdout


@pytest.mark.parametrize(
    ("override", "said"), [("one.cuont=1", "did you mean 'count'?"), ("model.path=/no/such", "/no/such")]
)
def test_bad_input_writes_nothing(
    write_recipe: Write, med_copilot: Call, tmp_path: Path, override: str, said: str
) -> None:
    done = med_copilot("run", write_recipe(ONE), override)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_killed_run_goes_on_where_it_was(
    wait_for: Wait, running: Running, write_recipe: Write, med_copilot: Call, tmp_path: Path
) -> None:
    path = write_recipe({**ONE, "count": 40, "pause": 0.05}, TWO)
    process = start(path)
    wait_for(lambda: any(f.read_text().count("\n") >= 5 for f in (tmp_path / "runs").glob("demo/one-*/rank0.txt")))
    process.kill()
    process.wait()
    (lines,) = (tmp_path / "runs").glob("demo/one-*/rank0.txt")
    child = int(lines.read_text().split()[1])
    wait_for(lambda: not running(child))
    head = lines.read_text()
    done = med_copilot("run", path)
    assert done.returncode == 0, done.stderr
    assert "goes on" in done.stdout
    text = lines.read_text()
    assert text.startswith(head)
    assert [line.split()[0] for line in text.splitlines()] == [str(n) for n in range(40)]
    metrics = (tmp_path / "runs/demo/metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line) for line in metrics)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_children(
    wait_for: Wait, running: Running, write_recipe: Write, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(write_recipe({"id": "one", "type": "breaks", "how": "hang"}))
    wait_for(lambda: any(f.read_text() for f in (tmp_path / "runs").glob("demo/one-*/pid0")))
    (pid,) = (tmp_path / "runs").glob("demo/one-*/pid0")
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in said
    assert not running(int(pid.read_text()))


def test_one_run_at_a_time(
    wait_for: Wait, running: Running, write_recipe: Write, med_copilot: Call, tmp_path: Path
) -> None:
    path = write_recipe({"id": "one", "type": "breaks", "how": "hang"})
    process = start(path)
    wait_for(lambda: any(f.read_text() for f in (tmp_path / "runs").glob("demo/one-*/pid0")))
    second = med_copilot("run", path)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert second.returncode == 2
    assert f"process {process.pid}" in second.stderr
    assert "name=OTHER" in second.stderr


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("bug", 1, "ValueError: a bug in here"),
        ("kill", 1, "killed by SIGKILL"),
        ("mistake", 2, "data: nothing left of 12 rows\n  do:    loosen the filter"),
    ],
)
def test_failures_say_why(write_recipe: Write, med_copilot: Call, how: str, code: int, said: str) -> None:
    done = med_copilot("run", write_recipe({"id": "one", "type": "breaks", "how": how}))
    assert done.returncode == code
    assert said in done.stderr
    assert ("Traceback" in done.stderr) == (how == "bug")


def test_nothing_a_stage_started_outlives_it(
    wait_for: Wait, running: Running, write_recipe: Write, med_copilot: Call, tmp_path: Path
) -> None:
    done = med_copilot("run", write_recipe({"id": "one", "type": "breaks", "how": "leave"}))
    assert done.returncode == 0, done.stderr
    (left,) = (tmp_path / "runs").glob("demo/one-*/left")
    wait_for(lambda: not running(int(left.read_text())))


def test_an_output_taken_away_is_made_again(write_recipe: Write, med_copilot: Call, tmp_path: Path) -> None:
    path = write_recipe(ONE)
    med_copilot("run", path)
    (lines,) = (tmp_path / "runs").glob("demo/one-*/rank0.txt")
    lines.unlink()
    assert "goes on" in med_copilot("run", path).stdout
    assert lines.exists()


def test_secrets_reach_no_file(write_recipe: Write, med_copilot: Call, tmp_path: Path) -> None:
    secret = "s3cr3t-0123456789"
    path = write_recipe({**ONE, "say": "SOME_API_KEY", "source": secret})
    done = med_copilot("run", path, SOME_API_KEY=secret)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "demo"
    assert "the value is [SOME_API_KEY] indeed" in (run / "logs/one.rank0.log").read_text()
    written = tree(run)
    assert written
    assert not [name for name, content in written.items() if secret.encode() in content]
