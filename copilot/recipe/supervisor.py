"""Runs the stages: every rank a thin supervisor, every stage in a child process of every rank, rank 0 in command.

Nothing heavy is imported here, so device memory, process groups and servers cannot leak from stage to stage. A stage is
finished when all its processes are and ``done.json`` is written; whatever happens before, the next run goes on from it.
"""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click

from copilot.errors import CopilotError
from copilot.recipe.folder import RunFolder, finish, write_atomic
from copilot.recipe.plan import PlannedStage, make_plan, run_root
from copilot.recipe.process import Child, ChildResult
from copilot.recipe.ranks import LOST, Channel, Host, Message, Ranks, free_port, join
from copilot.recipe.schema import Recipe
from copilot.recipe.secrets import Scrubber
from copilot.recipe.tracking import Tracker

_POLL = 0.1
_AFTER_RANK_0 = 2.0  # a launcher ends all ranks when one has failed: rank 0 must have spoken by then
_LAUNCHER_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE")
_STOPPED: Message = {"stop": True}


class StageFailure(CopilotError):
    """A stage whose process failed; its log says why."""

    boundary = "stage"
    exit_code = 1


class _RelayedError(CopilotError):
    """A mistake found inside a stage process, shown as it was said there."""

    def __init__(self, result: ChildResult) -> None:
        self._said = result.error
        super().__init__(result.error[0])

    def lines(self) -> list[str]:
        return self._said


class _Terminated(KeyboardInterrupt):
    """SIGTERM, treated as Ctrl-C is."""


def supervise(recipe: Recipe, *, source: Path, env: Mapping[str, str]) -> None:
    """Run a validated recipe to its end in this rank; a finished stage is not run again.

    Args:
        recipe: From :func:`~copilot.recipe.loader.load_recipe`.
        source: Its file, for the record.
        env: The environment, with the launcher's variables.

    Raises:
        CopilotError: A stage failed, or the run could not begin. In every rank.
    """
    ranks = Ranks.from_env(env)
    with _termination_interrupts():
        if ranks.rank == 0:
            _lead(recipe, source=source, env=dict(env), ranks=ranks)
        else:
            _follow(run_root(recipe), env=dict(env), ranks=ranks)


@dataclass
class _Leader:
    """Rank 0 at work."""

    recipe: Recipe
    folder: RunFolder
    scrub: Scrubber
    ranks: Ranks
    env: dict[str, str]
    host: Host
    lock: int
    tracker: Tracker | None

    def run_all(self, plan: list[PlannedStage]) -> None:
        outputs: dict[str, dict[str, Any]] = {}
        for number, planned in enumerate(plan, start=1):
            title = f"[{number}/{len(plan)}] {planned.config.id} ({planned.kind})"
            if planned.outputs is not None:
                click.echo(f"{title}: done before")
                outputs[planned.config.id] = planned.outputs
                continue
            verb = "goes on" if planned.state == "resume" else "runs"
            click.echo(f"{title}: {verb}, log in {self.folder.log(planned.config.id, 0)}")
            started = time.monotonic()
            result = self._run_stage(planned, outputs)
            seconds = time.monotonic() - started
            world = self.ranks.world_size if planned.stage.distributed else 1
            finish(planned.folder, key=planned.key, outputs=result, seconds=seconds, world_size=world)
            outputs[planned.config.id] = result
            click.echo(f"{title}: done in {seconds:.1f} s{_figures(result)}")

    def _run_stage(self, planned: PlannedStage, outputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
        planned.folder.mkdir(parents=True, exist_ok=True)
        read = {ref: outputs[ref] for ref in planned.config.upstream()}
        job = {
            "id": planned.config.id,
            "type": planned.kind,
            "config": planned.config.model_dump(mode="json"),
            "folder": str(planned.folder),
            "run_folder": str(self.folder.root),
            "outputs": read,
            "model": self.recipe.model.model_dump(mode="json"),
            "seed": self.recipe.seed,
            "data_use": self.recipe.data_use,
            "distributed": planned.stage.distributed and self.ranks.launched,
            "port": free_port(),
        }
        record = {name: job[name] for name in ("id", "type", "config", "model", "seed", "outputs")}
        write_atomic(planned.folder / "stage.json", self.scrub(json.dumps(record, indent=1) + "\n"))
        if job["distributed"]:
            self.host.tell({"job": job})
        child = _start(job, self.ranks, self.env, self.folder, self.scrub, bars=True, inherit=(self.lock,))
        try:
            results = self._await(child, list(self.host.peers) if job["distributed"] else [])
        finally:
            child.stop()
        for rank, result in sorted(results.items()):
            if not result.ok:
                raise self._failure(planned, rank, result)
        answer = results[0].outputs
        assert answer is not None
        return answer

    def _await(self, child: Child, waiting: list[int]) -> dict[int, ChildResult]:
        """Results by rank: all of them, or those there were when the first rank failed."""
        results: dict[int, ChildResult] = {}
        while True:
            if 0 not in results:
                own = child.wait(_POLL)
                if own is not None:
                    results[0] = own
            else:
                time.sleep(_POLL)
            for rank in waiting:
                message = self.host.peers[rank].poll()
                if message == LOST:
                    results[rank] = ChildResult(-signal.SIGKILL, tail=[f"rank {rank} is gone"])
                elif message is not None:
                    results[rank] = ChildResult(**message["result"])
            if self.tracker is not None:
                self.tracker.poll()
            if len(results) == 1 + len(waiting) or not all(result.ok for result in results.values()):
                return results

    def _failure(self, planned: PlannedStage, rank: int, result: ChildResult) -> CopilotError:
        if result.error:
            return _RelayedError(result)
        tail = "".join(f"\n  | {line}" for line in result.tail)
        how = f"killed by {signal.Signals(-result.code).name}" if result.code < 0 else f"exit code {result.code}"
        what = f"{planned.config.id} failed on rank {rank} ({how}); the end of its log:{tail}"
        remedy = "mend the cause and run the same command again: it goes on from here"
        return StageFailure(what, where=self.folder.log(planned.config.id, rank), remedy=remedy)


def _lead(recipe: Recipe, *, source: Path, env: dict[str, str], ranks: Ranks) -> None:
    scrub = Scrubber(env)
    root = run_root(recipe)
    plan = make_plan(recipe)
    waiting = any(planned.outputs is None for planned in plan)
    if waiting:
        _check_model(recipe, env, scrub)
    folder = RunFolder(root, scrub)
    with folder.locked() as lock:
        plan = make_plan(recipe)  # again: another run may have finished stages while the lock was awaited
        host = Host(root, ranks)
        tracker = None
        code = 1
        try:
            host.gather()
            if waiting:
                folder.begin(recipe, source=source, world_size=ranks.world_size)
                tracker = Tracker(recipe, folder.metrics, scrub) if recipe.wandb.project else None
            click.echo(f"recipe {recipe.name}: {len(plan)} stages, {ranks.world_size} process(es), in {root}")
            _Leader(recipe, folder, scrub, ranks, env, host, lock, tracker).run_all(plan)
            code = 0
            done = "nothing to do, all stages were done before" if not waiting else "finished"
            click.echo(f"recipe {recipe.name}: {done}; results in {root}")
        finally:
            if tracker is not None:
                tracker.close(code)
            host.tell({"end": code})
            host.close()


def _check_model(recipe: Recipe, env: dict[str, str], scrub: Scrubber) -> None:
    """Find (and build, where it is one we know) the model before anything of the run is written."""
    env = {k: v for k, v in env.items() if k not in _LAUNCHER_RANKS}
    child = Child({"resolve": recipe.model.path}, env=env, log=Path(os.devnull), scrub=scrub, bars=True)
    try:
        result = None
        while result is None:
            result = child.wait(_POLL)
    finally:
        child.stop()
    if result.error:
        raise _RelayedError(result)
    if not result.ok:
        tail = "\n".join(result.tail)
        raise StageFailure(f"the model {recipe.model.path!r} could not be looked up:\n{tail}", remedy="see above")


def _follow(root: Path, *, env: dict[str, str], ranks: Ranks) -> None:
    channel = join(root, ranks)
    scrub = Scrubber(env)
    folder = RunFolder(root, scrub)
    while True:
        message = channel.poll(timeout=_POLL)
        if message is None or message == _STOPPED:
            continue
        if message == LOST:
            raise StageFailure("rank 0 is gone", where=root, remedy="see its message; run the same command again")
        if "end" in message:
            if message["end"]:
                time.sleep(_AFTER_RANK_0)
                raise StageFailure("the run failed; rank 0 says why", where=root)
            return
        _follow_stage(message["job"], channel, env, folder, scrub, ranks)


def _follow_stage(
    job: dict[str, Any], channel: Channel, env: dict[str, str], folder: RunFolder, scrub: Scrubber, ranks: Ranks
) -> None:
    """Run one stage's process; a failure elsewhere (``end``, a lost rank 0) stops it."""
    child = _start(job, ranks, env, folder, scrub)
    try:
        while True:
            result = child.wait(_POLL)
            if result is not None:
                channel.send({"result": vars(result)})
                return
            message = channel.poll()
            if message is not None:
                channel.inbox.put(message)
                return
    finally:
        child.stop()


def _start(
    job: dict[str, Any],
    ranks: Ranks,
    env: dict[str, str],
    folder: RunFolder,
    scrub: Scrubber,
    *,
    bars: bool = False,
    inherit: tuple[int, ...] = (),
) -> Child:
    """Start the stage's process of this rank, with a rendezvous of the stage's own."""
    place = {"rank": ranks.rank, "local_rank": ranks.local_rank, "world_size": ranks.world_size}
    if not job["distributed"]:
        place = {"rank": 0, "local_rank": 0, "world_size": 1}
        env = {k: v for k, v in env.items() if k not in _LAUNCHER_RANKS}
    # the launcher's agent serves a store at its own port; ours has none, so that rank 0's process opens it
    env = {k: v for k, v in env.items() if k != "TORCHELASTIC_USE_AGENT_STORE"}
    env |= {"MASTER_ADDR": ranks.address, "MASTER_PORT": str(job["port"])}
    log = folder.log(job["id"], ranks.rank)
    return Child({**job, **place}, env=env, log=log, scrub=scrub, bars=bars, inherit=inherit)


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM, from a launcher or a batch system, ends the run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _figures(outputs: dict[str, Any]) -> str:
    shown = [
        f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in outputs.items() if isinstance(v, int | float)
    ]
    return f" ({', '.join(shown)})" if shown else ""
