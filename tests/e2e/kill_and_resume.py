"""Kills a smoke run (-9) at random points in every stage and shows that nothing is lost, doubled or changed.

    python tests/e2e/kill_and_resume.py --kills 20 --output /tmp/kills

Kept through all kills: what a finished stage wrote, and every whole trajectory line, byte by byte. At the end each
(task, attempt) is there exactly once, and training has the per-step losses of an undisturbed run on the same rows.
With ``--recipe recipes/smoke_online.yaml``: every step of the online stages is there once, and no group is half played.
"""

import argparse
import contextlib
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
    """Processor time the stage's process had had."""
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
    seconds = watch(runs, "undisturbed")
    verdict = Verdict()
    kills = deal(options.kills, seconds, random.Random(options.seed))
    disturb(runs, verdict, kills, list(seconds), console)
    judge(runs, verdict, list(seconds))
    report(verdict, console)
    (options.output / "kill_and_resume.json").write_text(json.dumps(asdict(verdict), indent=1))
    return 1 if verdict.problems else 0


def watch(runs: Runs, name: str) -> dict[str, float]:
    """Let a run end; returns the processor time of each stage, in order: a clock that other work does not hurry."""
    since, supervisor = time.time(), runs.start(name)
    seconds: dict[str, float] = {}
    while supervisor.poll() is None:
        stage, child = stage_process(supervisor.pid, runs.output / name, since)
        if child and stage and (spent := processor_seconds(child)) is not None:
            seconds[stage] = spent
        time.sleep(_POLL)
    if supervisor.returncode:
        raise SystemExit(f"the run {name} failed:\n{(runs.output / f'{name}.log').read_text()[-3000:]}")
    return seconds


def deal(kills: int, seconds: dict[str, float], rng: random.Random) -> list[Kill]:
    """``kills`` dealt out evenly over the stages (the first get the rest), each at a random time of its stage."""
    share, rest = divmod(kills, len(seconds))
    return [
        Kill(stage, rng.choice(["supervisor", "stage process"]), rng.uniform(0, 0.9 * seconds[stage]))
        for index, stage in enumerate(seconds)
        for _ in range(share + (index < rest))
    ]


def disturb(runs: Runs, verdict: Verdict, kills: list[Kill], stages: list[str], console: Console) -> None:
    """Kill the run again and again, then let it end."""
    kept: dict[Path, bytes] = {}
    for number, kill in enumerate(kills, start=1):
        done = {p.parent.name.rpartition("-")[0] for p in (runs.output / "disturbed").glob("*/done.json")}
        if kill.stage in done:  # an earlier kill of it came after its end: the next stage gets this one
            kill.stage = next((stage for stage in stages if stage not in done), kill.stage)
        if not carry_out(runs, kill):
            console.print(f"kill {number} of {len(kills)}: {kill.stage} ended before it")
            continue
        verdict.kills.append(kill)
        check_kept(kept, runs.output / "disturbed", verdict)
        what = f"{kill.stage}, {kill.victim}, at {kill.seconds:.2f} s, {kill.state}"
        console.print(f"kill {number} of {len(kills)}: {what}")
    verdict.check("kills", f"{len(verdict.kills)} of {len(kills)}", len(verdict.kills) == len(kills))
    runs.finish("disturbed")
    check_kept(kept, runs.output / "disturbed", verdict)
    verdict.check("files with all they ever had, byte by byte", str(len(kept)), len(kept) > 0)


def carry_out(runs: Runs, kill: Kill) -> bool:
    """Start the run and kill it when the stage's process has had ``kill.seconds``; false when the stage was done.

    A stage that goes on from a kill has less left to do than ``kill.seconds``; it is killed just before its end is
    marked, or in the moment after.
    """
    since, supervisor = time.time(), runs.start("disturbed")
    began: int | None = None
    while supervisor.poll() is None:
        stage, child = stage_process(supervisor.pid, runs.output / "disturbed", since)
        if stage == kill.stage and child:
            began = child
        spent = processor_seconds(began) if began else None
        if began and (spent is None or spent >= kill.seconds):
            break
        time.sleep(_POLL)
    if began is None or supervisor.poll() is not None:
        return False
    if not alive(began):
        kill.victim = "supervisor"
    victim = supervisor.pid if kill.victim == "supervisor" else began
    with contextlib.suppress(ProcessLookupError):  # it ended in this very moment
        os.kill(victim, signal.SIGKILL)
    supervisor.wait()
    while alive(began):
        time.sleep(_POLL)
    kill.state = state_of(runs, kill.stage)
    return True


def stage_process(supervisor: int, run: Path, since: float) -> tuple[str | None, int | None]:
    """The stage begun last in this start (after ``since``), and the process below ``supervisor``."""
    begun = sorted((p.stat().st_mtime, p) for p in run.glob("*/stage.json") if p.stat().st_mtime >= since - 0.01)
    if not begun:
        return None, None
    stage = str(json.loads(begun[-1][1].read_text())["id"])
    try:
        pids = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    except FileNotFoundError:  # it has just ended
        pids = []
    return stage, int(pids[0]) if pids else None


def processor_seconds(pid: int) -> float | None:
    """Processor time a process has had; ``None`` when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return None
    return None if fields[0] in "ZX" else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    return processor_seconds(pid) is not None


def state_of(runs: Runs, stage: str) -> str:
    """How far the stage was, in a few words."""
    folder = runs.stage_folder("disturbed", stage)
    if (folder / "done.json").is_file():
        return "done"
    shards = [*folder.glob("trajectories/**/*.jsonl"), *folder.glob("rollouts/*.jsonl")]
    lines = sum(path.read_bytes().count(b"\n") for path in shards)
    losses = sum(path.read_bytes().count(b"\n") for path in folder.glob("losses.jsonl"))
    return f"{lines} trajectories" if lines else f"{losses} losses" if losses else "nothing yet"


def check_kept(kept: dict[Path, bytes], run: Path, verdict: Verdict) -> None:
    """Everything that was finished once is still there, and add what has been finished since."""
    for path, content in kept.items():
        now = path.read_bytes() if path.is_file() else b""
        if not (now.startswith(content) if path.suffix == ".jsonl" else now == content):
            verdict.problems.append(f"{path.relative_to(run)} changed after it was finished")
    for path in [*run.glob("*/trajectories/**/*.jsonl"), *run.glob("*/rollouts/*.jsonl")]:
        content = path.read_bytes()
        kept[path] = content[: content.rfind(b"\n") + 1]
    for done in run.glob("*/done.json"):
        for path in (p for p in done.parent.rglob("*") if p.is_file() and not p.name.startswith(".")):
            kept[path] = path.read_bytes()


def judge(runs: Runs, verdict: Verdict, stages: list[str]) -> None:
    """Compare with the undisturbed run, and training with an undisturbed one on the same rows."""
    kinds = {stage: kind_of(runs, stage) for stage in stages}
    for stage in (s for s, kind in kinds.items() if kind in ("sample", "evaluate")):
        wanted, found = episodes(runs, "undisturbed", stage), episodes(runs, "disturbed", stage)
        same = found.keys() == wanted.keys() and set(found.values()) == {1}
        verdict.check(f"{stage}: each (task, attempt) exactly once", f"{sum(found.values())} of {len(wanted)}", same)
    for stage in (s for s, kind in kinds.items() if kind in ("grpo", "ppo")):
        judge_online(runs, verdict, stage)
    training = [s for s, kind in kinds.items() if kind in ("sft", "dpo", "kto")]
    if not training:
        return
    shutil.copytree(runs.output / "disturbed", runs.output / "control")
    for stage in training:
        shutil.rmtree(runs.stage_folder("control", stage))
    runs.finish("control")
    for stage in training:
        disturbed, control = losses(runs, "disturbed", stage), losses(runs, "control", stage)
        apart = max((abs(a - b) for a, b in zip(disturbed, control, strict=False)), default=1.0)
        ok = len(disturbed) == len(control) and apart <= LOSS_TOLERANCE
        verdict.check(f"{stage}: per-step losses", f"{len(disturbed)} of {len(control)} steps, {apart:.1e} apart", ok)


def judge_online(runs: Runs, verdict: Verdict, stage: str) -> None:
    """Every step once and in order, every attempt once, every group whole."""
    steps = [record["step"] for record in lines_of(runs.stage_folder("disturbed", stage) / "steps.jsonl")]
    wanted = len(lines_of(runs.stage_folder("undisturbed", stage) / "steps.jsonl"))
    verdict.check(f"{stage}: every step once", f"{len(steps)} of {wanted}", steps == list(range(1, wanted + 1)))
    config = json.loads((runs.stage_folder("disturbed", stage) / "stage.json").read_text())["config"]
    shards = (runs.stage_folder("disturbed", stage) / "rollouts").glob("*.jsonl")
    played = Counter(line["attempt"] for shard in shards for line in lines_of(shard))
    used = steps_cursor(runs, stage)
    whole = all(played[attempt] == 1 for attempt in range(used * config["group_size"]))
    verdict.check(f"{stage}: each attempt of each used group exactly once", f"{used} groups", whole)


def steps_cursor(runs: Runs, stage: str) -> int:
    """Groups that the stage's steps have used, refilled and refused ones included."""
    records = lines_of(runs.stage_folder("disturbed", stage) / "steps.jsonl")
    return sum(int(r["groups"] + r["groups_flat"] + r["groups_stale"]) for r in records)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """A file's JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def kind_of(runs: Runs, stage: str) -> str:
    """The stage's type."""
    record: dict[str, Any] = json.loads((runs.stage_folder("undisturbed", stage) / "stage.json").read_text())
    return str(record["type"])


def episodes(runs: Runs, name: str, stage: str) -> Counter[tuple[str, str, int]]:
    """How often each (store, task, attempt) that infrastructure did not break is there."""
    from copilot.data.store import read_trajectories

    root = runs.stage_folder(name, stage) / "trajectories"
    stores = {shard.parent for shard in root.rglob("*.jsonl")}
    return Counter(
        (str(store.relative_to(root)), *trajectory.key)
        for store in stores
        for trajectory in read_trajectories(store)
        if not trajectory.masked
    )


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
