"""Programs that know nothing about a task, and what they hand in: the measure of a grader.

Each :class:`Junk` is real Python, run by a test in the real sandbox; what it submits and prints is also said here as
data, so that its pass rate over thousands of tasks needs no sandbox. Pass rates are counted per answer type, strict
beside the published rules.
"""

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from pydantic import Field, JsonValue

from copilot.config import Record
from copilot.envs.sandboxes.base import Sandbox, SandboxBackend, SandboxSpec
from copilot.envs.sources.base import Source
from copilot.envs.task import Task
from copilot.reward.answers import UNANSWERABLE, UnanswerableAnswer
from copilot.reward.graders import grade
from copilot.reward.paper import RULES, Printed, paper_score
from copilot.reward.types import MANY, key_of, type_of

STRICT_BOUND = 0.02
"""Largest pass rate of junk on answer types with many values."""

EXCESS_BOUND = 0.01
"""Largest pass rate of junk elsewhere, beyond the share of the most common answer."""

_CONSTANTS: tuple[JsonValue, ...] = (
    0, 1, 2, 3, 4, 5, 10, 42, 50, 100, -1, 0.5, 0.8, 1.0, 25.0, 140, True, False, "", "yes", "no", "unknown", "none",
    "nan", "2100-12-31", "M", "F", "white", "*", UNANSWERABLE,
)  # fmt: skip
_SPRAY = 10_000
_CELLS = 400


@dataclass(frozen=True)
class World:
    """What junk may look at: the tasks of a source, and its data."""

    categories: Sequence[str]
    cells: Sequence[JsonValue]
    """Some cells of its tables."""


@dataclass(frozen=True)
class Junk:
    """A program, and what it leaves behind."""

    name: str
    program: Callable[[Task, World], str]
    """Python that is run as the policy's code would be."""
    value: Callable[[Task, World], JsonValue] = lambda _task, _world: None
    """What it leaves in ``answer``; ``None``: nothing."""
    output: Callable[[Task, World], str] = lambda _task, _world: ""
    """What it prints."""
    failed: bool = False
    """Whether it ends with an error."""


def _constant(value: JsonValue) -> Junk:
    return Junk(
        f"constant {value!r}",
        lambda _task, _world: f"answer = {value!r}\nprint(answer)",
        lambda _task, _world: value,
        lambda _task, _world: f"{value}\n",
    )


def _prints(name: str, value: Callable[[Task, World], JsonValue]) -> Junk:
    return Junk(
        name,
        lambda task, world: f"answer = {value(task, world)!r}\nprint(answer)",
        value,
        lambda task, world: f"{value(task, world)}\n",
    )


def numbers_of(task: Task) -> list[str]:
    """Numbers in a question's words."""
    return re.findall(r"\d+(?:\.\d+)?", task.question)


TRACEBACK = (
    'Traceback (most recent call last):\n  File "/work/cache/validation_code_1748790123_0f8a31d2.py", line 1, in '
    "<module>\n    answer = result\n             ^^^^^^\nNameError: name 'result' is not defined\n"
)
"""What a crash prints in the paper's environment, whose files are named by time and a random id."""

_TAMPER = """
import os, sys
for name in ("test_tasks.jsonl", "answer.json", "/data/answer.json", "conftest.py", "grader.py"):
    try:
        with open(name, "w") as file:
            file.write("True")
    except OSError:
        pass
sys.modules.pop("unittest", None)
"""

PROGRAMS: tuple[Junk, ...] = (
    *map(_constant, _CONSTANTS),
    Junk(
        "spray of 0..9999",
        lambda _task, _world: f"answer = list(range({_SPRAY}))\nprint(*answer)",
        lambda _task, _world: list(range(_SPRAY)),
        lambda _task, _world: " ".join(map(str, range(_SPRAY))) + "\n",
    ),
    Junk(
        "spray as text",
        lambda _task, _world: f"answer = ' '.join(map(str, range({_SPRAY // 10})))\nprint(answer)",
        lambda _task, _world: " ".join(map(str, range(_SPRAY // 10))),
        lambda _task, _world: " ".join(map(str, range(_SPRAY // 10))) + "\n",
    ),
    Junk("crash", lambda _task, _world: "answer = result", output=lambda _task, _world: TRACEBACK, failed=True),
    Junk(
        "both booleans",
        lambda _task, _world: "answer = [True, False]\nprint(True, False)",
        lambda _task, _world: [True, False],
        lambda _task, _world: "True False\n",
    ),
    _prints("echo of the question", lambda task, _world: task.question),
    _prints("words of the question", lambda task, _world: list(task.question.split())),
    _prints("numbers of the question", lambda task, _world: list(numbers_of(task))),
    _prints("first number of the question", lambda task, _world: next(iter(numbers_of(task)), "")),
    _prints("last number of the question", lambda task, _world: next(iter(reversed(numbers_of(task))), "")),
    _prints("cells of the tables", lambda _task, world: list(world.cells)),
    _prints("all categories", lambda _task, world: list(world.categories)),
    _prints("the task's category", lambda task, _world: task.category),
    Junk("nothing", lambda _task, _world: "pass"),
    Junk("exit(0)", lambda _task, _world: "raise SystemExit(0)"),
    Junk(
        "tampering with tests",
        lambda _task, _world: _TAMPER + 'answer = "passed"\nprint("all tests passed")',
        lambda _task, _world: "passed",
        lambda _task, _world: "all tests passed\n",
    ),
)
"""All junk programs."""


class TypeRates(Record):
    """Pass rates of junk on one answer type of a source."""

    source: str
    """Task source."""
    type: str
    """Answer type."""
    tasks: int
    """Tasks of the type."""
    distinct: int
    """Distinct references among them."""
    majority: float
    """Share of the most common reference."""
    strict: dict[str, float] = Field(default_factory=dict)
    """Junk program to its pass rate."""
    paper: dict[str, float] | None = None
    """The same by the published rule; ``None`` where the paper has no such source."""
    balanced: float | None = None
    """For truth: the best junk's accuracy balanced over both truths; 0.5 is what a constant gets."""

    @property
    def many_valued(self) -> bool:
        """Whether the 2 % bound holds."""
        return self.distinct > MANY

    @property
    def worst(self) -> tuple[str, float]:
        """The junk program with the highest strict pass rate."""
        name = max(self.strict, key=lambda key: self.strict[key])
        return name, self.strict[name]

    @property
    def worst_paper(self) -> tuple[str, float] | None:
        """The same by the published rule."""
        if self.paper is None:
            return None
        name = max(self.paper, key=lambda key: self.paper[key] if self.paper else 0.0)
        return name, self.paper[name]

    @property
    def bound(self) -> float:
        """The most that junk may reach."""
        return STRICT_BOUND if self.many_valued else self.majority + EXCESS_BOUND


async def junk_rates(source: Source, tasks: Sequence[Task], backend: SandboxBackend) -> list[TypeRates]:
    """Pass rates of all junk programs on a source's tasks, by answer type.

    Args:
        source: Of the tasks.
        tasks: Those to try.
        backend: Started; opens sandboxes where the source's evidence needs one.
    """
    world = world_of(source, tasks)
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        groups[type_of(task.reference.answer)].append(task)
    return [await _rates(source, kind, group, world, backend) for kind, group in sorted(groups.items())]


async def _rates(source: Source, kind: str, group: list[Task], world: World, backend: SandboxBackend) -> TypeRates:
    golds = Counter(key_of(task.reference.answer) for task in group)
    strict: dict[str, float] = {}
    paper: dict[str, float] = {}
    rule = RULES.get(source.paper_row)
    for junk in PROGRAMS:
        strict[junk.name] = sum(await _passed(source, junk, group, world, backend)) / len(group)
        if rule is not None and kind != "unanswerable":
            printed = (Printed(output=junk.output(task, world), failed=junk.failed) for task in group)
            scores = [paper_score(rule, task.reference.answer, out) for task, out in zip(group, printed, strict=True)]
            paper[junk.name] = sum(scores) / len(group)
    return TypeRates(
        source=source.name,
        type=kind,
        tasks=len(group),
        distinct=len(golds),
        majority=max(golds.values()) / len(group),
        strict={name: round(rate, 6) for name, rate in strict.items()},
        paper={name: round(rate, 6) for name, rate in paper.items()} or None,
        balanced=await _balanced(source, group, world, backend) if kind == "boolean" and len(golds) == 2 else None,
    )


async def _balanced(source: Source, group: list[Task], world: World, backend: SandboxBackend) -> float:
    """Of the best junk: the mean of its pass rates on true and on false."""
    classes: dict[str, list[Task]] = defaultdict(list)
    for task in group:
        classes[key_of(task.reference.answer)].append(task)
    best = 0.0
    for junk in PROGRAMS:
        rates = [sum(await _passed(source, junk, same, world, backend)) / len(same) for same in classes.values()]
        best = max(best, sum(rates) / len(rates))
    return round(best, 6)


async def _passed(source: Source, junk: Junk, group: list[Task], world: World, backend: SandboxBackend) -> list[bool]:
    if type(source).evidence is Source.evidence:  # what is submitted is what is graded
        return [grade(task.reference.answer, junk.value(task, world)).correct for task in group]
    passed = []
    for task in group:
        spec = SandboxSpec(files=source.files(task), preamble=source.preamble(task))
        async with await backend.open(spec) as sandbox:
            value = await played(junk, task, world, sandbox)
            passed.append(grade(task.reference.answer, await source.evidence(task, value, sandbox, backend)).correct)
    return passed


async def played(junk: Junk, task: Task, world: World, sandbox: Sandbox) -> JsonValue:
    """What a junk program leaves in ``answer`` when it runs in a sandbox; ``None``: nothing that JSON can say."""
    await sandbox.execute(junk.program(task, world))
    try:
        return await sandbox.value("answer")
    except (KeyError, ValueError):  # no answer, or none that can be submitted
        return None


def world_of(source: Source, tasks: Sequence[Task]) -> World:
    """What junk sees of a source."""
    return World(sorted({task.category for task in tasks}), _cells(source.files(tasks[0])) if tasks else [])


def _cells(files: Mapping[str, object]) -> list[JsonValue]:
    """Distinct cells of the first rows of every table of the databases among the files."""
    found: dict[JsonValue, None] = {}
    for path in (str(path) for name, path in files.items() if name.endswith(".db")):
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as con:
            names = [row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY 1")]
            for name in names:
                for row in con.execute(f'SELECT * FROM "{name}" LIMIT 5'):
                    found.update(dict.fromkeys(row))
    return list(found)[:_CELLS]


def summary_of(rates: Iterable[TypeRates]) -> dict[str, float]:
    """``strict_max_pass_rate`` over many-valued types, ``strict_max_excess_over_majority`` over the others."""
    rows = list(rates)
    many = [row.worst[1] for row in rows if row.many_valued]
    excess = [row.worst[1] - row.majority for row in rows if not row.many_valued]
    paper = [row.worst_paper[1] for row in rows if row.worst_paper]
    return {
        "strict_max_pass_rate": max(many, default=0.0),
        "strict_max_excess_over_majority": max(excess, default=0.0),
        "paper_max_pass_rate": max(paper, default=0.0),
    }


def abstention(tasks: Sequence[Task]) -> dict[str, float] | None:
    """Always abstaining, told apart: its rate on all tasks, and its accuracy balanced over both kinds of question."""
    silent = sum(isinstance(task.reference.answer, UnanswerableAnswer) for task in tasks)
    if not silent or silent == len(tasks):
        return None
    return {"share_unanswerable": round(silent / len(tasks), 6), "balanced_accuracy": 0.5}
