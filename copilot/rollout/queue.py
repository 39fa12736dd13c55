"""One queue of jobs for all ranks: nobody waits for anybody, and no job is done twice.

Rank 0 works out what is pending and publishes it in a ``TCPStore``; a rank takes the next job by adding one to a
counter there. Invariants: every job goes to exactly one rank, and each rank gets at least one (the first jobs are set
aside, one per rank), however late its server comes up. Only the end is common: rank 0 keeps the store until all ranks
have reported what they did.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from copilot.envs.task import Task
from copilot.errors import InfrastructureError
from copilot.rollout.job import Job

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

Key = tuple[str, int]

START_SECONDS = 3600.0
"""How long ranks wait for rank 0 to publish the jobs."""
POLL_SECONDS = 0.2
"""How often rank 0 looks for the others' reports."""


class JobQueue:
    """The jobs of a run, taken one by one.

    Args:
        tasks: All tasks, the same in every rank.
        pending: Computes the (task id, attempt) pairs to do, in order; called in rank 0 only.
        rank: This process.
        world_size: All processes.
        address: Host and port of rank 0's store; unused by a single process.
        store: The store itself, where several queues share one under prefixes; replaces ``address``.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        pending: Callable[[], Sequence[Key]],
        *,
        rank: int = 0,
        world_size: int = 1,
        address: tuple[str, int] = ("127.0.0.1", 29500),
        store: "Store | None" = None,
    ) -> None:
        self.rank, self.world_size = rank, world_size
        self._tasks = {task.id: task for task in tasks}
        self._store = store or open_store(address, rank, world_size)
        self._keys = self._publish(pending)
        self._indices = self._take()

    def __len__(self) -> int:
        """Jobs of all ranks together."""
        return len(self._keys)

    def __aiter__(self) -> AsyncIterator[Job]:
        return self._jobs()

    def share(self) -> int:
        """How many jobs this rank would get if all were equally fast."""
        return -(-len(self._keys) // self.world_size)

    def report(self, figures: dict[str, Any]) -> list[dict[str, Any]]:
        """Hand in what this rank did.

        Returns:
            In rank 0: the figures of all ranks, by rank, once all have reported. Elsewhere: this rank's.
        """
        if self._store is None:
            return [figures]
        self._store.set(f"report{self.rank}", json.dumps(figures))
        if self.rank:
            return [figures]
        names = [f"report{rank}" for rank in range(self.world_size)]
        while not self._store.check(names):
            time.sleep(POLL_SECONDS)
        reports: list[dict[str, Any]] = [json.loads(self._store.get(name)) for name in names]
        return reports

    def _publish(self, pending: Callable[[], Sequence[Key]]) -> list[Key]:
        if self._store is None:
            return list(pending())
        if self.rank == 0:
            self._store.set("jobs", json.dumps(list(pending())))
        try:
            self._store.wait(["jobs"], timedelta(seconds=START_SECONDS))
        except RuntimeError as error:
            raise InfrastructureError("queue", f"rank 0 published no jobs: {error}") from error
        return [(task_id, attempt) for task_id, attempt in json.loads(self._store.get("jobs"))]

    def _take(self) -> Iterator[int]:
        """Indices of this rank's jobs: its own first one, then whatever is next in the common counter."""
        if self._store is None:
            yield from range(len(self._keys))
            return
        if self.rank < len(self._keys):
            yield self.rank
        while (index := self.world_size + self._store.add("taken", 1) - 1) < len(self._keys):
            yield index

    async def _jobs(self) -> AsyncIterator[Job]:
        for index in self._indices:
            task_id, attempt = self._keys[index]
            yield Job(self._tasks[task_id], attempt)


def open_store(address: tuple[str, int], rank: int, world_size: int) -> "Store | None":
    """The ranks' common store, at rank 0; ``None`` for a single process."""
    if world_size == 1:
        return None
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    host, port = address
    return TCPStore(host, port, world_size, rank == 0, timedelta(seconds=START_SECONDS), wait_for_workers=False)
