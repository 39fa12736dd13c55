"""Kills a smoke run (-9) at random points in every stage and shows that nothing is lost, doubled or changed.

    python tests/e2e/kill_and_resume.py --kills 20 --output /tmp/kills

Kept through all kills: what a finished stage wrote, and every whole trajectory line, byte by byte. At the end each
(task, attempt) is there exactly once, and training has the per-step losses of an undisturbed run on the same rows.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RECIPE = Path(__file__).parents[2] / "recipes" / "smoke.yaml"
LOSS_TOLERANCE = 1e-4
_POLL = 0.02


@dataclass
class Kill:
    """One kill."""

    stage: str
    """Stage that was aimed at."""
    victim: str
    """``supervisor`` or ``stage process``."""
    seconds: float
    """Time after the stage's process began."""
    state: str = ""
    """What was there then: whole trajectory lines, losses, or done."""


@dataclass
class Verdict:
    """What was found in the end; ``problems`` is empty when all promises were kept."""

    kills: list[Kill] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def check(self, name: str, found: str, ok: bool) -> None:
        self.checks[name] = found
        if not ok:
            self.problems.append(f"{name}: {found}")


class Runs:
    """Runs of the recipe below one folder."""

    def __init__(self, recipe: Path, output: Path, overrides: list[str]) -> None:
        self.recipe, self.output, self.overrides = recipe, output.absolute(), overrides

    def start(self, name: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", "from copilot.cli import main; main()", "run", str(self.recipe)]
        log = open(self.output / f"{name}.log", "a")  # noqa: SIM115 - the child's, closed below
        try:
            arguments = [*self.overrides, f"name={name}", f"output={self.output}"]
            return subprocess.Popen([*command, *arguments], stdout=log, stderr=log, text=True)
        finally:
            log.close()

    def finish(self, name: str) -> None:
        if self.start(name).wait():
            log = self.output / f"{name}.log"
            raise SystemExit(f"the run {name} failed:\n{log.read_text()[-3000:]}")

    def stage_folder(self, name: str, stage: str) -> Path:
        (folder,) = (self.output / name).glob(f"{stage}-*")
        return folder


def main(argv: list[str] | None = None) -> int:
    """Run it all; 0 when every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--output", type=Path, default=Path("runs/kill_and_resume"))
    parser.add_argument("overrides", nargs="*", help="overrides of the recipe")
    options = parser.parse_args(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    runs = Runs(options.recipe, options.output, options.overrides)
    for name in ("undisturbed", "disturbed", "control"):
        shutil.rmtree(options.output / name, ignore_errors=True)
    console = Console()
    console.print("an undisturbed run first")
    runs.finish("undisturbed")
    verdict = Verdict()
    disturb(runs, verdict, options.kills, random.Random(options.seed), console)
    judge(runs, verdict)
    report(verdict, console)
    (options.output / "kill_and_resume.json").write_text(json.dumps(asdict(verdict), indent=1))
    return 1 if verdict.problems else 0


def disturb(runs: Runs, verdict: Verdict, kills: int, rng: random.Random, console: Console) -> None:
    """Kill the run ``kills`` times, in every stage by turns, and let it end."""
    seconds = durations(runs.output / "undisturbed")
    kept: dict[Path, bytes] = {}
    stages = list(seconds)
    targets = [stage for index, stage in enumerate(stages) for _ in range(share(kills, len(stages), index))]
    for number, stage in enumerate(targets, start=1):
        kill = kill_once(runs, stage, rng.uniform(0, 0.9 * seconds[stage]), rng.choice(["supervisor", "stage process"]))
        if kill is None:
            verdict.problems.append(f"{stage}: was done before it could be killed")
            continue
        verdict.kills.append(kill)
        check_kept(kept, runs.output / "disturbed", verdict)
        console.print(
            f"kill {number} of {len(targets)}: {kill.stage}, {kill.victim}, at {kill.seconds:.2f} s, {kill.state}"
        )
    runs.finish("disturbed")
    check_kept(kept, runs.output / "disturbed", verdict)
    verdict.check("files and lines kept byte by byte", str(len(kept)), len(kept) > 0)


def share(kills: int, stages: int, index: int) -> int:
    """Kills of stage ``index`` when ``kills`` are dealt out evenly; the first stages get the rest."""
    return kills // stages + (index < kills % stages)


def durations(run: Path) -> dict[str, float]:
    """Seconds of each stage, in the recipe's order."""
    found = {}
    for path in run.glob("*/done.json"):
        stage = json.loads((path.parent / "stage.json").read_text())["id"]
        found[path.stat().st_mtime, stage] = json.loads(path.read_text())["seconds"]
    return {stage: seconds for (_, stage), seconds in sorted(found.items())}


def kill_once(runs: Runs, stage: str, after: float, victim: str) -> Kill | None:
    """Start the run, wait until ``stage`` has been at work for ``after`` seconds, kill; ``None``: it never began."""
    since = time.time()
    supervisor = runs.start("disturbed")
    child = None
    while child is None:
        if supervisor.poll() is not None:
            return None
        child = stage_process(supervisor.pid, stage, runs.output / "disturbed", since)
        time.sleep(_POLL)
    began = time.monotonic()
    while time.monotonic() - began < after and supervisor.poll() is None and alive(child):
        time.sleep(_POLL)
    if not alive(child):  # quicker than last time: kill at once where it is now
        victim = "supervisor"
    kill = Kill(stage, victim, time.monotonic() - began)
    os.kill(supervisor.pid if victim == "supervisor" else child, signal.SIGKILL)
    supervisor.wait()
    while alive(child):
        time.sleep(_POLL)
    kill.state = state_of(runs, stage)
    return kill


def stage_process(supervisor: int, stage: str, run: Path, since: float) -> int | None:
    """The process of ``stage`` below ``supervisor``, once it is the stage begun last in this start."""
    begun = sorted((p.stat().st_mtime, p) for p in run.glob("*/stage.json") if p.stat().st_mtime >= since - 0.01)
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    if not begun or json.loads(begun[-1][1].read_text())["id"] != stage or not children.is_file():
        return None
    pids = children.read_text().split()
    return int(pids[0]) if pids else None


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def state_of(runs: Runs, stage: str) -> str:
    """How far the stage was, in a few words."""
    folder = runs.stage_folder("disturbed", stage)
    if (folder / "done.json").is_file():
        return "done"
    lines = sum(path.read_bytes().count(b"\n") for path in folder.glob("trajectories/**/*.jsonl"))
    losses = sum(path.read_bytes().count(b"\n") for path in folder.glob("losses.jsonl"))
    return f"{lines} trajectories" if lines else f"{losses} losses" if losses else "nothing yet"


def check_kept(kept: dict[Path, bytes], run: Path, verdict: Verdict) -> None:
    """Everything that was finished once is still there, and add what has been finished since."""
    for path, content in kept.items():
        now = path.read_bytes() if path.is_file() else b""
        if not (now.startswith(content) if path.suffix == ".jsonl" else now == content):
            verdict.problems.append(f"{path.relative_to(run)} changed after it was finished")
    for path in run.glob("*/trajectories/**/*.jsonl"):
        content = path.read_bytes()
        kept[path] = content[: content.rfind(b"\n") + 1]
    for done in run.glob("*/done.json"):
        for path in (p for p in done.parent.rglob("*") if p.is_file() and not p.name.startswith(".")):
            kept[path] = path.read_bytes()


def judge(runs: Runs, verdict: Verdict) -> None:
    """Compare with the undisturbed run, and training with an undisturbed one on the same rows."""
    kinds = {stage: kind_of(runs, stage) for stage in durations(runs.output / "undisturbed")}
    for stage in (s for s, kind in kinds.items() if kind == "sample"):
        wanted, found = episodes(runs, "undisturbed", stage), episodes(runs, "disturbed", stage)
        same = found.keys() == wanted.keys() and set(found.values()) == {1}
        verdict.check(f"{stage}: each (task, attempt) exactly once", f"{sum(found.values())} of {len(wanted)}", same)
    training = [s for s, kind in kinds.items() if kind in ("sft", "dpo", "kto")]
    shutil.copytree(runs.output / "disturbed", runs.output / "control")
    for stage in training:
        shutil.rmtree(runs.stage_folder("control", stage))
    runs.finish("control")
    for stage in training:
        disturbed, control = losses(runs, "disturbed", stage), losses(runs, "control", stage)
        apart = max((abs(a - b) for a, b in zip(disturbed, control, strict=False)), default=1.0)
        ok = len(disturbed) == len(control) and apart <= LOSS_TOLERANCE
        verdict.check(f"{stage}: per-step losses", f"{len(disturbed)} of {len(control)} steps, {apart:.1e} apart", ok)


def kind_of(runs: Runs, stage: str) -> str:
    """The stage's type."""
    record: dict[str, Any] = json.loads((runs.stage_folder("undisturbed", stage) / "stage.json").read_text())
    return str(record["type"])


def episodes(runs: Runs, name: str, stage: str) -> Counter[tuple[str, int]]:
    """How often each (task, attempt) that infrastructure did not break is there."""
    from copilot.data.store import read_trajectories

    folder = runs.stage_folder(name, stage) / "trajectories"
    return Counter(trajectory.key for trajectory in read_trajectories(folder) if not trajectory.masked)


def losses(runs: Runs, name: str, stage: str) -> list[float]:
    """The loss of every step."""
    text = (runs.stage_folder(name, stage) / "losses.jsonl").read_text()
    return [json.loads(line)["loss"] for line in text.splitlines()]


def report(verdict: Verdict, console: Console) -> None:
    """Print what was done and found."""
    table = Table("stage", "kills", "at (s)", "states", title=f"{len(verdict.kills)} kills")
    for stage in dict.fromkeys(kill.stage for kill in verdict.kills):
        mine = [kill for kill in verdict.kills if kill.stage == stage]
        at = ", ".join(f"{kill.seconds:.1f}" for kill in mine)
        table.add_row(stage, str(len(mine)), at, ", ".join(kill.state for kill in mine))
    console.print(table)
    for name, found in verdict.checks.items():
        console.print(f"{name}: {found}")
    for problem in verdict.problems:
        console.print(f"BROKEN {problem}")
    console.print("every promise kept" if not verdict.problems else f"{len(verdict.problems)} promises broken")


if __name__ == "__main__":
    sys.exit(main())
