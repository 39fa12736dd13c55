"""Tasks by the hundred thousand: streamed from a source, each question once, every reference verified in parallel.

The order is the source's, whatever finishes first: batches are verified side by side, each in a sandbox of its own,
and written in the order they were made, so the same seed gives the same file. A file that was cut off is gone on with:
its tasks are recognised by id and neither verified nor written again.
"""

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from copilot.envs.check import check_tasks
from copilot.envs.sandboxes.base import SandboxBackend
from copilot.envs.sources.base import Source
from copilot.envs.task import Task

BATCH = 64
"""Tasks verified in one sandbox."""


@dataclass
class Made:
    """What came of it."""

    written: int = 0
    """Tasks in the file, those of an earlier call included."""
    resumed: int = 0
    """Those that were there already."""
    repeated: int = 0
    """Tasks left out because the same question was asked before."""
    failed: int = 0
    """Tasks left out because their reference was not reproduced."""
    seconds: float = 0.0
    """Time of this call."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Task id to the reason, of the first failures."""

    @property
    def per_second(self) -> float:
        """Verified tasks per second of this call."""
        return (self.written - self.resumed + self.failed) / self.seconds if self.seconds else 0.0


async def generate(
    source: Source,
    split: str,
    path: Path,
    backend: SandboxBackend,
    *,
    count: int,
    seed: int = 0,
    workers: int | None = None,
    on_task: Callable[[int], None] = lambda _count: None,
) -> Made:
    """Write ``count`` verified tasks of a split as JSON lines.

    Args:
        source: Makes the tasks.
        split: One of its splits.
        path: The file; what it holds already is kept.
        backend: Started; as many sandboxes as workers are open at a time.
        count: Tasks wanted in the file.
        seed: The stream of instances.
        workers: Batches verified at the same time; by default one per processor core.
        on_task: Called with the number of tasks written so far.
    """
    made, began = Made(), time.perf_counter()
    known = resume(path)
    made.written = made.resumed = len(known)
    fresh = _fresh(source.tasks(split, limit=_asked(count), seed=seed), known, made)
    running: deque[asyncio.Task[list[Task]]] = deque()
    width = workers or os.cpu_count() or 1
    loop = asyncio.get_running_loop()
    # One thread makes all tasks, since a source's database connection stays in the thread that opened it.
    with ThreadPoolExecutor(1) as maker, open(path, "a", encoding="utf-8", newline="\n") as file:
        more = True
        while more or running:
            while more and len(running) < width and made.written + BATCH * len(running) < count:
                batch = await loop.run_in_executor(maker, lambda: list(islice(fresh, BATCH)))
                more = len(batch) == BATCH
                if batch:
                    running.append(asyncio.create_task(_verified(source, batch, backend, made)))
            if not running:
                break
            for task in (await running.popleft())[: count - made.written]:
                file.write(task.model_dump_json() + "\n")
                made.written += 1
            file.flush()
            on_task(made.written)
            more = more and made.written < count
        await loop.run_in_executor(maker, fresh.close)
    made.seconds = time.perf_counter() - began
    return made


def resume(path: Path) -> dict[str, str]:
    """Question by task id of what a file holds; a last line that was cut off is cut away."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        return {}
    known: dict[str, str] = {}
    whole = 0
    with open(path, "rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            record = json.loads(line)
            known[record["id"]] = _same(record["question"], record["metadata"])
            whole += len(line)
        file.truncate(whole)
    return known


def _asked(count: int) -> int:
    """More than wanted, since some are repeated or fail."""
    return count + count // 4 + BATCH


def _same(question: str, metadata: object) -> str:
    """Equal for equal questions about the same data."""
    world = metadata.get("database_seed", "") if isinstance(metadata, dict) else ""
    return f"{world} {' '.join(question.lower().split())}"


def _fresh(tasks: Iterator[Task], known: dict[str, str], made: Made) -> Generator[Task, None, None]:
    asked = set(known.values())
    for task in tasks:
        if task.id in known:
            continue
        question = _same(task.question, task.metadata)
        if question in asked:
            made.repeated += 1
            continue
        asked.add(question)
        yield task


async def _verified(source: Source, batch: list[Task], backend: SandboxBackend, made: Made) -> list[Task]:
    report = await check_tasks(source, batch, backend, on_task=lambda: None)
    bad = {failure.task_id: failure.reason for failure in report.failures}
    made.failed += len(bad)
    made.reasons.update(list(bad.items())[: max(0, 10 - len(made.reasons))])
    return [task for task in batch if task.id not in bad]
