"""Tasks prove themselves without a model: every reference program scores, an empty submission never does.

Programs run in the real sandbox and are graded on the host, as an episode would be, many to a sandbox. A program is
the project's or a data set's own; one that fails, or gives another answer, is counted and named.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, islice

from pydantic import Field, JsonValue

from copilot.config import Record
from copilot.envs.sandboxes.base import Sandbox, SandboxBackend, SandboxSpec
from copilot.envs.sources.base import Source
from copilot.envs.task import Task
from copilot.reward.answers import UNANSWERABLE, UnanswerableAnswer
from copilot.reward.graders import grade

NO_OPS: tuple[JsonValue, ...] = (None, "", [])
"""Submissions of somebody who did nothing."""

_BATCH = 64


class Failure(Record):
    """A task that did not prove itself."""

    task_id: str
    """Which one."""
    reason: str
    """What happened."""


class CheckReport(Record):
    """What came of checking the tasks of a split."""

    tasks: int
    """Tasks looked at."""
    answerable: int
    """Those with a program."""
    reproduced: int
    """Programs whose answer is graded right."""
    unanswerable: int
    """Those whose right answer is that there is none; the word is graded right."""
    noop_passed: int
    """Tasks that an empty submission solves; should be 0."""
    failures: tuple[Failure, ...] = Field(default=())
    """Tasks whose program does not give the reference, and those that an empty submission solves."""


async def check_tasks(
    source: Source, tasks: Iterable[Task], backend: SandboxBackend, *, on_task: Callable[[], None]
) -> CheckReport:
    """Run every reference and grade it.

    Args:
        source: Serves the tasks' files and preamble.
        tasks: Tasks of ``source``.
        backend: A started backend.
        on_task: Called after each task.
    """
    failures: list[Failure] = []
    counts = {"tasks": 0, "answerable": 0, "reproduced": 0, "unanswerable": 0, "noop_passed": 0}
    stream = iter(tasks)
    while batch := list(islice(stream, _BATCH)):
        batch.sort(key=lambda task: str(_world(source, task)))
        for _, same in groupby(batch, key=lambda task: _world(source, task)):
            found = await _check_batch(source, list(same), backend, counts, on_task)
            failures.extend(found)
    return CheckReport(**counts, failures=tuple(failures))


def _world(source: Source, task: Task) -> tuple[object, ...]:
    """Tasks of one world are checked in one sandbox."""
    return (tuple(source.files(task).items()), source.preamble(task), task.id if source.stateful else "")


async def _check_batch(
    source: Source,
    tasks: Sequence[Task],
    backend: SandboxBackend,
    counts: dict[str, int],
    on_task: Callable[[], None],
) -> list[Failure]:
    spec = SandboxSpec(files=source.files(tasks[0]), preamble=source.preamble(tasks[0]))
    failures = []
    async with await backend.open(spec) as sandbox:
        for task in tasks:
            answer = task.reference.answer
            unanswerable = isinstance(answer, UnanswerableAnswer)
            evidence = [await source.evidence(task, noop, sandbox, backend) for noop in NO_OPS]
            passing = [noop for noop, seen in zip(NO_OPS, evidence, strict=True) if grade(answer, seen).correct]
            fault = await _run(source, sandbox, backend, task, unanswerable=unanswerable)
            counts["tasks"] += 1
            counts["unanswerable" if unanswerable else "answerable"] += 1
            counts["reproduced"] += not unanswerable and fault is None
            counts["noop_passed"] += bool(passing)
            if fault is not None or passing:
                failures.append(Failure(task_id=task.id, reason=fault or f"solved by submitting {passing[0]!r}"))
            on_task()
    return failures


async def _run(
    source: Source, sandbox: Sandbox, backend: SandboxBackend, task: Task, *, unanswerable: bool
) -> str | None:
    """Why the reference does not score, or ``None`` when it does."""
    if not unanswerable:
        result = await sandbox.execute(f"answer = None\n{task.reference.program}")
        if result.status != "ok":
            return f"{result.status}: {result.error_type} {result.error_message}".strip()
    submitted = UNANSWERABLE if unanswerable else await sandbox.value("answer")
    verdict = grade(task.reference.answer, await source.evidence(task, submitted, sandbox, backend))
    return None if verdict.correct else verdict.reason
