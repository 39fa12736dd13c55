"""Rollouts in the background: a thread with an event loop that plays groups as far as it is allowed to.

The trainer says up to which index groups may be begun; between two allowances nothing starts, which makes the
synchronous loop the overlapped one with a bound of 0. Every finished episode is on disk before it counts. Groups are
dealt by index through the ranks' store: whoever is free takes the next.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from copilot.data.store import TrajectoryWriter, read_trajectories
from copilot.data.trajectory import Trajectory
from copilot.envs.task import Task
from copilot.online.config import OnlineStage
from copilot.online.episodes import Group, make_group
from copilot.online.ranks import Ranks
from copilot.policy.versions import VersionedPolicy
from copilot.rollout.engine import run_jobs
from copilot.rollout.job import Job

if TYPE_CHECKING:
    from copilot.verifier.base import Scorer

T = TypeVar("T")
_POLL = 0.02


class Collector:
    """Plays groups and hands over finished ones.

    Args:
        config: Group size, rollout settings, rewards.
        tasks: All tasks, by id.
        policy: Not started yet.
        ranks: The processes.
        folder: Where trajectories are kept, a shard per rank.
        seed: The run's seed.
        scorer: Says the reward term ``verifier``, where there is one; not started yet.
    """

    def __init__(
        self,
        config: OnlineStage,
        tasks: Mapping[str, Task],
        policy: VersionedPolicy,
        ranks: Ranks,
        *,
        folder: Path,
        seed: int,
        scorer: "Scorer | None" = None,
    ) -> None:
        self._config, self._tasks, self.policy, self._ranks = config, tasks, policy, ranks
        self._folder, self._seed, self._scorer = folder, seed, scorer
        self._limit = 0
        self._unfinished: list[int] = []
        self._next = 0
        self._parts: dict[int, dict[int, Trajectory]] = {}
        self._played: dict[int, list[Trajectory]] = {}
        self._finished: list[Group] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rollouts", daemon=True)
        self._thread.start()
        self._playing: asyncio.Task[None] | None = None

    def resume(self, *, cursor: int, dealt: int) -> None:
        """Take back what an earlier run left on disk: every index below ``dealt`` is finished or played on.

        Called by all ranks before any of them plays; finished groups are handed over by rank 0.
        """
        size = self._config.group_size
        kept = [t for t in _stored(self._folder) if t.attempt // size >= cursor]
        for trajectory in kept:
            self._parts.setdefault(trajectory.attempt // size, {})[trajectory.attempt] = trajectory
        for index in sorted(self._parts):
            if len(self._parts[index]) == size:
                parts = self._parts.pop(index)
                if self._ranks.is_main:
                    self._played[index] = list(parts.values())
        done = {t.attempt // size for t in kept} - set(self._parts)
        self._unfinished = [index for index in range(cursor, dealt) if index not in done]
        self._next = max(dealt, cursor)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the event loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def begin(self) -> None:
        """Start playing, up to the allowance."""
        self.run(self._begin())

    def announce(self, index: int, task_ids: Iterable[str]) -> None:
        """Tell all ranks which tasks the indices from ``index`` on are (rank 0 only)."""
        for offset, task_id in enumerate(task_ids):
            self._ranks.store.set(f"task{index + offset}", task_id)

    def allow(self, limit: int) -> None:
        """Groups below ``limit`` may be begun; it never goes back."""
        self._limit = max(self._limit, limit)

    def harvest(self) -> list[Group]:
        """Groups finished since the last call.

        Raises:
            CopilotError: Whatever ended the rollouts.
        """
        for work in (*self._closing, *([self._playing] if self._playing else [])):
            if work.done():
                work.result()
        with self._lock:
            finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        """Stop playing (episodes in flight are lost, and played again on resuming) and close the policy."""
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _begin(self) -> None:
        if self._scorer is not None:
            await self._scorer.start()
        for index, trajectories in self._played.items():
            await self._close(index, trajectories)
        self._playing = asyncio.create_task(self._play())

    async def _end(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            for work in self._closing:
                work.cancel()
            await asyncio.wait([self._playing, *self._closing])
        if self._scorer is not None:
            await self._scorer.close()
        await self.policy.close()

    async def _play(self) -> None:
        with TrajectoryWriter(self._folder / f"rank{self._ranks.rank}.jsonl") as writer:
            await run_jobs(
                self._jobs(),
                policy=self.policy,
                adapter=None,
                label="policy",
                config=self._config.rollout,
                writer=writer,
                seed=self._seed,
                on_done=self._note,
            )

    async def _jobs(self) -> AsyncIterator[Job]:
        size = self._config.group_size
        while True:
            index = self._take()
            while index >= self._limit or not self._ranks.store.check([f"task{index}"]):
                await asyncio.sleep(_POLL)
            task = self._tasks[self._ranks.store.get(f"task{index}").decode()]
            there = self._parts.setdefault(index, {})
            for attempt in range(index * size, (index + 1) * size):
                if attempt not in there:
                    yield Job(task, attempt)

    def _take(self) -> int:
        """The next index that is nobody's: first those a killed run left unfinished."""
        number = int(self._ranks.store.add("groups", 1)) - 1
        beyond = number - len(self._unfinished)
        return self._next + beyond if beyond >= 0 else self._unfinished[number]

    def _note(self, trajectory: Trajectory) -> None:
        index = trajectory.attempt // self._config.group_size
        parts = self._parts[index]
        parts[trajectory.attempt] = trajectory
        if len(parts) == self._config.group_size:
            del self._parts[index]
            work = asyncio.ensure_future(self._close(index, list(parts.values())))
            self._closing.add(work)
            work.add_done_callback(self._closed)

    async def _close(self, index: int, trajectories: list[Trajectory]) -> None:
        """All attempts are there: score them and hand the group over."""
        judged = [t for t in trajectories if not t.masked] if self._scorer is not None else []
        scores = await self._scorer.score(judged) if self._scorer is not None and judged else []
        by_attempt = {t.attempt: score for t, score in zip(judged, scores, strict=True)}
        group = make_group(index, trajectories, self._config, by_attempt)
        with self._lock:
            self._finished.append(group)

    def _closed(self, work: "asyncio.Task[None]") -> None:
        """Forget what went well; what did not, :meth:`harvest` raises."""
        if not work.cancelled() and work.exception() is None:
            self._closing.discard(work)


def _stored(folder: Path) -> list[Trajectory]:
    return list(read_trajectories(folder)) if any(folder.glob("*.jsonl")) else []
