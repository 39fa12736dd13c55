"""The job queue: two real processes on one TCPStore do every job exactly once, and both take part."""

import asyncio
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from copilot.envs.task import Reference, Task
from copilot.recipe.ranks import free_port
from copilot.reward.answers import IntegerAnswer
from copilot.rollout.queue import JobQueue

WORKER = textwrap.dedent(
    """
    import asyncio, json, sys
    from copilot.envs.task import Reference, Task
    from copilot.reward.answers import IntegerAnswer
    from copilot.rollout.queue import JobQueue

    reference = Reference(answer=IntegerAnswer(value=1))
    rank, world, port, jobs, slow, attempts = map(int, sys.argv[1:])
    tasks = [
        Task(id=f"s/train/{n}", source="s", split="train", question="?", reference=reference)
        for n in range(jobs)
    ]

    def pending():
        assert rank == 0, "only rank 0 looks at the store"
        return [(task.id, attempt) for attempt in range(attempts) for task in tasks]

    async def main():
        if rank == slow:
            await asyncio.sleep(1.0)
        queue = JobQueue(tasks, pending, rank=rank, world_size=world, address=("127.0.0.1", port))
        done = []
        async for job in queue:
            done.append(job.key)
            await asyncio.sleep(0.001)
        print(json.dumps({"done": done, "reports": queue.report({"rank": rank, "count": len(done)})}))

    asyncio.run(main())
    """
)


def play_in_processes(jobs: int, world: int, slow: int = -1, attempts: int = 2) -> list[dict[str, list[object]]]:
    port = str(free_port())
    arguments = [[str(rank), str(world), port, str(jobs), str(slow), str(attempts)] for rank in range(world)]
    running = [subprocess.Popen([sys.executable, "-c", WORKER, *a], stdout=subprocess.PIPE) for a in arguments]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * world
    return [json.loads(output) for output in outputs]


@pytest.mark.parametrize("slow", [-1, 1])
def test_two_processes_do_each_job_exactly_once(slow: int) -> None:
    first, second = play_in_processes(jobs=40, world=2, slow=slow)
    done = [tuple(key) for key in first["done"] + second["done"]]  # type: ignore[call-overload]
    assert sorted(done) == sorted((f"s/train/{n}", attempt) for n in range(40) for attempt in range(2))
    assert first["done"]
    assert second["done"]
    assert first["reports"] == [
        {"rank": 0, "count": len(first["done"])},
        {"rank": 1, "count": len(second["done"])},
    ]
    assert second["reports"] == [{"rank": 1, "count": len(second["done"])}]


def test_fewer_jobs_than_processes() -> None:
    first, second = play_in_processes(jobs=1, world=2, attempts=1)
    assert [first["done"], second["done"]] == [[["s/train/0", 0]], []]


def test_a_single_process_needs_no_store(tmp_path: Path) -> None:
    answer = Reference(answer=IntegerAnswer(value=1))
    tasks = [Task(id=f"t{n}", source="s", split="train", question="?", reference=answer) for n in range(3)]
    queue = JobQueue(tasks, lambda: [("t2", 0), ("t0", 1)])

    async def collect() -> list[tuple[str, int]]:
        return [job.key async for job in queue]

    assert asyncio.run(collect()) == [("t2", 0), ("t0", 1)]
    assert len(queue) == 2
    assert queue.report({"count": 2}) == [{"count": 2}]
