"""The job queue: two real processes on one TCPStore do every job exactly once, and both take part."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from torch.distributed import PrefixStore

from copilot.envs.task import Reference, Task
from copilot.recipe.ranks import free_port
from copilot.reward.answers import IntegerAnswer
from copilot.rollout.queue import JobQueue, open_store

REFERENCE = Reference(answer=IntegerAnswer(value=1))


def some_tasks(count: int) -> list[Task]:
    return [Task(id=f"s/train/{n}", source="s", split="train", question="?", reference=REFERENCE) for n in range(count)]


async def drain(queue: JobQueue) -> list[tuple[str, int]]:
    done = []
    async for job in queue:
        done.append(job.key)
        await asyncio.sleep(0.001)
    return done


def work(*, rank: int, world: int, port: int, jobs: int, attempts: int, late: float) -> dict[str, Any]:
    tasks = some_tasks(jobs)

    def pending() -> list[tuple[str, int]]:
        assert rank == 0, "only rank 0 looks at the trajectory store"
        return [(task.id, attempt) for attempt in range(attempts) for task in tasks]

    time.sleep(late)
    queue = JobQueue(tasks, pending, rank=rank, world_size=world, address=("127.0.0.1", port))
    done = asyncio.run(drain(queue))
    return {"done": done, "reports": queue.report({"rank": rank, "count": len(done)})}


def work_in_two(start_rank: Callable[..., Any], **arguments: Any) -> list[dict[str, Any]]:
    port = free_port()
    ranks = []
    for rank in range(2):
        late = 1.0 if arguments.get("late_rank") == rank else 0.0
        given = {name: value for name, value in arguments.items() if name != "late_rank"}

        def function(rank: int = rank, late: float = late, given: dict[str, Any] = given) -> dict[str, Any]:
            return work(rank=rank, world=2, port=port, late=late, **given)

        ranks.append(start_rank(function))
    return [rank.result() for rank in ranks]


@pytest.mark.parametrize("late_rank", [None, 0, 1])
def test_two_processes_do_each_job_exactly_once(start_rank: Callable[..., Any], late_rank: int | None) -> None:
    first, second = work_in_two(start_rank, jobs=40, attempts=2, late_rank=late_rank)
    done = [tuple(key) for key in first["done"] + second["done"]]
    assert sorted(done) == sorted((f"s/train/{n}", attempt) for n in range(40) for attempt in range(2))
    assert first["done"]
    assert second["done"]
    counts = [{"rank": rank, "count": len(part["done"])} for rank, part in enumerate((first, second))]
    assert first["reports"] == counts
    assert second["reports"] == counts[1:]


def test_fewer_jobs_than_processes(start_rank: Callable[..., Any]) -> None:
    first, second = work_in_two(start_rank, jobs=1, attempts=1)
    assert [first["done"], second["done"]] == [[["s/train/0", 0]], []]


def test_a_single_process_needs_no_store() -> None:
    queue = JobQueue(some_tasks(3), lambda: [("s/train/2", 0), ("s/train/0", 1)])
    assert asyncio.run(drain(queue)) == [("s/train/2", 0), ("s/train/0", 1)]
    assert (len(queue), queue.share()) == (2, 2)
    assert queue.report({"count": 2}) == [{"count": 2}]


def test_queues_under_prefixes_of_one_store_do_not_mix(start_rank: Callable[..., Any]) -> None:
    port = free_port()

    def several(rank: int) -> list[int]:
        store = open_store(("127.0.0.1", port), rank, 2)
        assert store is not None
        counts = []
        for name, jobs in (("a", 5), ("b", 3)):
            tasks = some_tasks(jobs)
            keys = [(task.id, 0) for task in tasks]
            own = PrefixStore(name, store)
            queue = JobQueue(tasks, lambda keys=keys: keys, rank=rank, world_size=2, store=own)
            done = asyncio.run(drain(queue))
            reports = queue.report({"count": len(done)})
            counts.append(sum(report["count"] for report in reports))
        return counts

    first, _ = [rank.result() for rank in [start_rank(lambda rank=rank: several(rank)) for rank in range(2)]]
    assert first == [5, 3]
