"""Suites: named, frozen lists of tasks, a JSON line each.

A suite is a file; its SHA-256 is its identity and is recorded with every evaluation. Reading streams, names the line
of anything malformed, skips and counts it; a file without a single good task is an error. Cuts are deterministic and
balanced over the question templates of each split.

A suite over data that is not ours to ship is shipped as its cuts (``NAME.cuts.json``) with the hash that they give: it
is built from the user's own data when it is asked for, and is the frozen suite only when the hash is the frozen one.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from pydantic import Field, ValidationError

from copilot.config import Record, StrictModel
from copilot.envs.sources.base import get_source
from copilot.envs.sqlite_files import cache_folder
from copilot.envs.task import Task
from copilot.errors import DataError, did_you_mean

SHIPPED = Path(__file__).parent / "suites"
"""Folder of the suites that come with the package."""

_log = logging.getLogger(__name__)


class BadLine(Record):
    """A line of a suite file that is no task."""

    line: int
    """Line number, from 1."""
    fault: str
    """What is wrong with it."""


class Cut(StrictModel):
    """A share of a suite: so many tasks of one split, evenly from its question templates."""

    source: str
    """Task source."""
    split: str
    """Split of the source."""
    count: int = Field(ge=1)
    """Number of tasks."""
    seed: int = 0
    """Stream of instances, for generated sources."""
    templates: list[str] = Field(default_factory=list)
    """Question templates to take, by name or by what stands before the ``/``; empty: all of them."""
    pool: int | None = None
    """How many tasks of the split are looked at; by default the size the source gives."""
    template_buckets: tuple[int, int] = (0, 100)
    """Half-open range of the hundredths, by a hash of source and template, whose templates are taken."""
    task_buckets: tuple[int, int] = (0, 100)
    """The same by a hash of the task's id."""
    as_split: str = ""
    """Split the tasks have in the suite; empty: the source's own."""


def find_suite(name_or_path: str | Path) -> Path:
    """The file of a suite: a path, or the name of a shipped one (``starter``).

    Raises:
        DataError: Neither; the shipped names are told.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{name_or_path}.jsonl"
    if shipped.is_file():
        return shipped
    if (SHIPPED / f"{name_or_path}.cuts.json").is_file():
        return built_suite(str(name_or_path))
    known = [suite.name.split(".")[0] for suite in SHIPPED.glob("*.json*") if suite.name != "hashes.json"]
    hint = did_you_mean(str(name_or_path), known) if known else "no suite is shipped"
    raise DataError(f"no suite {str(name_or_path)!r}", remedy=f"give a .jsonl file or a name; {hint}")


def built_suite(name: str) -> Path:
    """A suite that is shipped as cuts, built from the user's data into the cache; built again only when that changes.

    Raises:
        DataError: A source's data is missing.
    """
    tasks = without_leaks(build_suite(cuts_of(name)))
    path = cache_folder() / "suites" / f"{name}.jsonl"
    write_suite(path, tasks)
    frozen, found = frozen_hashes().get(name), suite_hash(path)
    if frozen != found:
        _log.warning("suite %s is not the frozen one (sha256 %s, frozen %s): your data differs", name, found, frozen)
    return path


def cuts_of(name: str) -> list[Cut]:
    """The cuts of a suite that is shipped as such."""
    raw = json.loads((SHIPPED / f"{name}.cuts.json").read_text(encoding="utf-8"))
    return [Cut.model_validate(cut) for cut in raw]


def frozen_hashes() -> dict[str, str]:
    """Name of each shipped suite to its SHA-256."""
    found: dict[str, str] = json.loads((SHIPPED / "hashes.json").read_text(encoding="utf-8"))
    return found


def read_suite(path: str | Path, *, bad_lines: list[BadLine] | None = None) -> list[Task]:
    """The tasks of a suite file, in order.

    Args:
        path: A JSON-lines file of tasks.
        bad_lines: Receives the lines that were skipped; each is logged as a warning in any case.

    Raises:
        DataError: The file is missing, or no line of it is a task.
    """
    found = [] if bad_lines is None else bad_lines
    tasks = list(iter_suite(path, bad_lines=found))
    if not tasks:
        first = f"; line {found[0].line}: {found[0].fault}" if found else ""
        raise DataError(f"no task in the suite{first}", where=path, remedy="write it with write_suite")
    if found:
        _log.warning("%s: %d of %d lines skipped", path, len(found), len(found) + len(tasks))
    return tasks


def iter_suite(path: str | Path, *, bad_lines: list[BadLine]) -> Iterator[Task]:
    """Stream the tasks of a suite file; what is skipped goes to ``bad_lines``."""
    if not Path(path).is_file():
        raise DataError("no such suite file", where=path, remedy="give a .jsonl file of tasks")
    seen: set[str] = set()
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                task = Task.model_validate_json(line)
                if task.id in seen:
                    raise ValueError(f"task {task.id!r} for the second time")
            except ValueError as error:  # pydantic's ValidationError is one
                bad_lines.append(BadLine(line=number, fault=_first_fault(error)))
                _log.warning("%s, line %d skipped: %s", path, number, bad_lines[-1].fault)
                continue
            seen.add(task.id)
            yield task


def _first_fault(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        item = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, item['loc'])) or 'line'}: {item['msg']}"
    return str(error)


def write_suite(path: str | Path, tasks: Iterable[Task]) -> int:
    """Write tasks as a suite file, at once or not at all.

    Returns:
        How many tasks there are.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    with open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for task in tasks:
            file.write(task.model_dump_json() + "\n")
            count += 1
    os.replace(temporary, path)
    return count


def suite_hash(path: str | Path) -> str:
    """SHA-256 of the suite file, in hex."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def build_suite(cuts: Sequence[Cut]) -> list[Task]:
    """Tasks cut from sources: for each cut, its templates take turns until ``count`` is reached.

    Raises:
        DataError: A split has fewer tasks than asked for.
    """
    return [task for cut in cuts for task in _cut(cut)]


def without_leaks(tasks: Sequence[Task]) -> list[Task]:
    """Tasks without those training tasks that ask a held-out question word for word."""
    held_out = {_plain(task) for task in tasks if not task.split.startswith("train")}
    return [task for task in tasks if not task.split.startswith("train") or _plain(task) not in held_out]


def _plain(task: Task) -> str:
    return " ".join(task.question.lower().split())


def _cut(cut: Cut) -> list[Task]:
    stream = get_source(cut.source).tasks(cut.split, limit=cut.pool, seed=cut.seed)
    queues: dict[tuple[str, str], list[Task]] = {}
    for task in stream:
        if cut.templates and not {task.template, task.template.split("/")[0]} & set(cut.templates):
            continue
        if not _within(cut.template_buckets, f"{task.source} {task.template}") or not _within(
            cut.task_buckets, task.id
        ):
            continue
        queues.setdefault((task.category, task.template), []).append(
            task.evolve(split=cut.as_split) if cut.as_split else task
        )
    turns = (
        queue[turn]
        for turn in range(max(map(len, queues.values()), default=0))
        for queue in queues.values()
        if turn < len(queue)
    )
    taken = list(islice(turns, cut.count))
    if len(taken) < cut.count:
        raise DataError(
            f"{cut.source} has {len(taken)} {cut.split} tasks, {cut.count} are wanted",
            remedy="lower the count or raise pool",
        )
    return taken


def _within(buckets: tuple[int, int], key: str) -> bool:
    low, high = buckets
    return low <= int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 100 < high
