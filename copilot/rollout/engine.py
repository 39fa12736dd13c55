"""Many episodes at once: pull a job, play it, write it, until there are none.

Decision: workers pull from one iterator, so a long episode holds nobody up, and every finished episode is on disk
before its worker takes the next job. An episode that infrastructure broke is played again, then recorded as masked.
Invariant: leaving early (Ctrl-C, an error) closes every sandbox and loses only the episodes in flight.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from copilot.data.store import TrajectoryWriter
from copilot.data.trajectory import Trajectory
from copilot.envs.protocols import get_protocol
from copilot.envs.sandboxes.base import SandboxBackend, make_backend
from copilot.policy.base import Policy
from copilot.rollout.config import RolloutConfig
from copilot.rollout.episode import Player, play
from copilot.rollout.job import Job
from copilot.rollout.progress import RolloutProgress
from copilot.rollout.rendering import Renderer

__all__ = ["Job", "Tally", "run_jobs"]


@dataclass
class Tally:
    """What a run of episodes came to."""

    episodes: int = 0
    """Trajectories written, masked ones included."""
    masked: int = 0
    """Of these, broken by infrastructure, after all retries."""
    retried: int = 0
    """Times an episode was played again."""
    turns: int = 0
    """Model messages."""
    prompt_tokens: int = 0
    """Tokens shown, all turns together."""
    completion_tokens: int = 0
    """Tokens sampled."""
    forks: int = 0
    """Turns whose prompt did not extend the previous ids."""
    submitted_correct: int = 0
    """Episodes solved by what they submitted."""
    any_attempt_correct: int = 0
    """Episodes solved by any attempt."""
    stops: Counter[str] = field(default_factory=Counter)
    """Episodes by stop reason."""
    failures: Counter[str] = field(default_factory=Counter)
    """Masked episodes by boundary."""
    seconds: float = 0.0
    """Wall time."""

    def add(self, trajectory: Trajectory) -> None:
        """Count one trajectory."""
        self.episodes += 1
        self.turns += len(trajectory.turns)
        self.prompt_tokens += sum(turn.prompt_tokens for turn in trajectory.turns)
        self.completion_tokens += sum(turn.completion_tokens for turn in trajectory.turns)
        self.forks += trajectory.forks
        self.stops[trajectory.stop_reason.value] += 1
        self.submitted_correct += trajectory.success("submitted")
        self.any_attempt_correct += trajectory.success("any_attempt")
        if trajectory.failure is not None:
            self.masked += 1
            self.failures[trajectory.failure.boundary] += 1

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON."""
        return {**asdict(self), "stops": dict(self.stops), "failures": dict(self.failures)}


async def run_jobs(
    jobs: AsyncIterable[Job] | Iterable[Job],
    *,
    policy: Policy,
    adapter: str | None,
    label: str,
    config: RolloutConfig,
    writer: TrajectoryWriter,
    seed: int,
    on_done: Callable[[Trajectory], None] | None = None,
    total: int | None = None,
    backend: SandboxBackend | None = None,
    hopeless: Callable[[Trajectory], Awaitable[bool]] | None = None,
) -> Tally:
    """Play all jobs, ``config.concurrency`` at a time.

    Args:
        jobs: Pulled one by one, when a worker is free.
        policy: Started; left running.
        adapter: Name of a loaded adapter, or ``None`` for the base model.
        label: Name of the policy in tables.
        config: How to play.
        writer: Where trajectories go, as they finish.
        seed: The run's seed.
        on_done: Called with every written trajectory.
        total: Number of jobs, for the progress bar; ``None``: unknown.
        backend: Sandboxes, started and closed here; ``None``: those of ``config.sandbox``.
        hopeless: Asked after each turn whether to give the episode up; ``None``: never.

    Raises:
        CopilotError: A mistake that another episode would meet as well.
    """
    renderer = Renderer(policy.tokenizer, get_protocol(config.protocol)) if policy.tokenizer is not None else None
    backend = make_backend(config.sandbox) if backend is None else backend
    player = Player(
        policy, backend, config, label=label, seed=seed, adapter=adapter, renderer=renderer, hopeless=hopeless
    )
    tally, began = Tally(), time.perf_counter()
    try:
        isolation = await backend.start()
        player = replace(player, isolation=f"{isolation.backend}/{isolation.level}")
        with RolloutProgress(label, total) as progress:
            await _work(_as_async(jobs), player, writer, tally, [progress.advance, *([on_done] if on_done else [])])
    finally:
        await backend.close()
    tally.seconds = time.perf_counter() - began
    return tally


async def _work(
    jobs: AsyncIterator[Job],
    player: Player,
    writer: TrajectoryWriter,
    tally: Tally,
    listeners: list[Callable[[Trajectory], None]],
) -> None:
    """Run the workers; the first error cancels the others, whose sandboxes close on the way out."""
    turnstile = asyncio.Lock()

    async def worker() -> None:
        while True:
            async with turnstile:
                job = await anext(jobs, None)
            if job is None:
                return
            trajectory = await _play_until_sound(player, job, tally)
            writer.append(trajectory)
            tally.add(trajectory)
            for listener in listeners:
                listener(trajectory)

    workers = [asyncio.create_task(worker()) for _ in range(player.config.concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _play_until_sound(player: Player, job: Job, tally: Tally) -> Trajectory:
    """Play a job; again, up to ``config.retries`` times with growing pauses, while infrastructure breaks it."""
    for attempt in range(player.config.retries):
        trajectory = await play(player, job)
        if not trajectory.masked:
            return trajectory
        tally.retried += 1
        await asyncio.sleep(min(0.1 * 4**attempt, 5.0))
    return await play(player, job)


async def _as_async(jobs: AsyncIterable[Job] | Iterable[Job]) -> AsyncIterator[Job]:
    if isinstance(jobs, AsyncIterable):
        async for job in jobs:
            yield job
    else:
        for job in jobs:
            yield job
