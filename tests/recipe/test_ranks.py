"""Rank processes: one run, every rank at work, all of them failing together."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Write = Callable[..., Path]
Call = Callable[..., subprocess.CompletedProcess[str]]
Wait = Callable[[Callable[[], bool]], None]
Running = Callable[[int], bool]


@contextmanager
def ranks(path: Path, *overrides: str, world_size: int = 2) -> Iterator[list[subprocess.Popen[str]]]:
    """Rank processes as a launcher starts them."""
    command = [sys.executable, "-c", "from copilot.recipe import main; import sys; main(sys.argv.pop(1))"]
    started = []
    for rank in range(world_size):
        env = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
        env |= {"LOCAL_WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
        started.append(
            subprocess.Popen(
                [*command, str(path), *overrides], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_all_ranks_work_with_a_rendezvous_per_stage(write_recipe: Write, tmp_path: Path) -> None:
    stages = [{"id": name, "type": "places"} for name in ("one", "two")]
    path = write_recipe(*stages, {"id": "three", "type": "alone"})
    with ranks(path) as processes:
        said = [process.communicate(timeout=600) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
    run = tmp_path / "runs" / "demo"
    ports = []
    for stage in ("one", "two"):
        (folder,) = run.glob(f"{stage}-*")
        places = [json.loads((folder / f"place{rank}.json").read_text()) for rank in range(2)]
        assert [(p["rank"], p["world_size"], p["RANK"], p["WORLD_SIZE"]) for p in places] == [
            (0, 2, "0", "2"),
            (1, 2, "1", "2"),
        ]
        assert json.loads((folder / "done.json").read_text())["outputs"]["total"] == 3
        ports.append({p["MASTER_PORT"] for p in places})
    assert all(len(port) == 1 for port in ports)
    assert "1" not in ports[0] | ports[1]
    (folder,) = run.glob("three-*")
    assert [f.name for f in folder.glob("alone*")] == ["alone0.json"]
    assert json.loads((folder / "alone0.json").read_text()) == {"RANK": None}
    assert said[1][0] == ""


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("how", ["bug", "mistake", "kill"])
def test_a_failure_of_one_rank_ends_all(write_recipe: Write, how: str, rank: int) -> None:
    path = write_recipe({"id": "one", "type": "breaks", "how": how, "rank": rank})
    with ranks(path) as processes:
        said = [process.communicate(timeout=600) for process in processes]
        assert all(process.returncode not in (0, None) for process in processes)
    expected = {
        "bug": "a bug in here",
        "mistake": "nothing left of 12 rows",
        "kill": f"rank {rank} (killed by SIGKILL)",
    }
    assert expected[how] in said[0][1]
    assert said[1][1] == ""


def test_a_lost_supervisor_ends_the_others(
    wait_for: Wait, running: Running, write_recipe: Write, tmp_path: Path
) -> None:
    path = write_recipe({"id": "one", "type": "breaks", "how": "hang"})
    with ranks(path) as processes:
        wait_for(lambda: all(list((tmp_path / "runs").glob(f"demo/one-*/pid{rank}")) for rank in range(2)))
        (pid,) = (tmp_path / "runs").glob("demo/one-*/pid1")
        processes[0].kill()
        processes[1].wait(timeout=600)
        assert processes[1].returncode == 1
        wait_for(lambda: not running(int(pid.read_text())))


def test_a_stale_address_is_not_believed(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe({"id": "one", "type": "lines"})
    run = tmp_path / "runs" / "demo"
    run.mkdir(parents=True)
    stale = {"address": "127.0.0.1", "port": 9, "token": "0" * 32, "job": "127.0.0.1:1:"}
    (run / ".ranks.json").write_text(json.dumps(stale))
    with ranks(path) as processes:
        said = [process.communicate(timeout=600) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
    assert not (run / ".ranks.json").exists()


def test_accelerate_launch_runs_the_file_itself(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe({"id": "one", "type": "places"})
    header = 'if __name__ == "__main__": import copilot.recipe; copilot.recipe.main(__file__); r"""\n'
    path.write_text(header + path.read_text() + '# """\n')
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.accelerate_cli",
        "launch",
        "--multi_gpu",
        "--num_processes",
        "2",
    ]
    done = subprocess.run(
        [*command, "--main_process_port", "0", str(path), "seed=3"],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").glob("demo/one-*")
    place = json.loads((folder / "place1.json").read_text())
    assert place["ACCELERATE_USE_CPU"] == "true"
    assert (place["rank"], place["world_size"]) == (1, 2)
    assert json.loads((folder / "stage.json").read_text())["seed"] == 3
