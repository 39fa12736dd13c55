"""The source: a seeded stream of power and sample-size questions, round-robin over the designs.

A look-alike: N-PowerAI's own questions carry no licence and come from 12 templates, all of which are in both of its
splits. Here an instance (design and parameters) belongs to one split by hash, some designs are asked in ``test_unseen``
alone, and powers near the significance level or 1 are not asked.
"""

import hashlib
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Source
from copilot.envs.sources.npowerai.designs import DESIGNS, HEADER
from copilot.envs.sources.npowerai.powers import sample_size
from copilot.envs.sources.npowerai.records import Design, Values
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError, did_you_mean
from copilot.reward.answers import IntegerAnswer, RealAnswer

SIZES = {"train": 4000, "valid": 400, "test_seen": 400, "test_unseen": 300}
"""Default number of tasks per split."""
POWER_RANGE = (0.3, 0.97)
"""Powers that are asked for."""
_TARGETS = (0.75, 0.8, 0.85, 0.9, 0.95)
_SIZE_RANGE = (20, 3000)
_POWER_TOLERANCE = 0.002
_BLOCK = 300
"""Draws among which a size is an answer once at most, so that no number is a good guess."""
_PATIENCE = 400
_SHARES = {"train": range(0, 80), "valid": range(80, 90), "test_seen": range(90, 100)}

_SIZE_ASKS = (
    "How many {count} are needed for a power of {target} at a significance level of {alpha}?",
    "What is the smallest number of {count} that gives at least {target} power with alpha = {alpha}?",
    "Find the required sample size ({count}): alpha {alpha}, power {target}.",
)
_POWER_ASKS = (
    "What is the power with {n} {count} at a significance level of {alpha}?",
    "With {n} {count} and alpha = {alpha}, what is the probability of a significant result? Answer between 0 and 1.",
    "Compute the power of the test for {n} {count}, alpha {alpha}.",
)


class NPowerAI(Source):
    """Power and sample size of common trial designs."""

    name: ClassVar[str] = "npowerai"
    title: ClassVar[str] = "Look-alike of N-PowerAI: power and sample size (generated)"
    licence: ClassVar[str] = "Apache-2.0"
    paper_row: ClassVar[str] = "N-PowerAI"
    look_alike: ClassVar[frozenset[str]] = frozenset(SIZES)

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """The stream of a split: every round asks each design once, in shuffled order; no instance twice."""
        if split not in self.splits:
            raise DataError(f"no split {split!r} in npowerai", remedy=did_you_mean(split, self.splits))
        return islice(stream("npowerai", split, seed), SIZES[split] if limit is None else limit)

    def files(self, task: Task) -> dict[str, Path]:
        """No files."""
        return {}

    def worked_example(self) -> WorkedExample:
        """The width of a confidence interval, which no split asks for."""
        code = "from scipy.stats import norm\nanswer = round(2 * norm.ppf(0.975) * 10 / 50 ** 0.5, 3)"
        shown = feedback.of_cell(CellResult(status="ok"), answer=(5.544,)).text
        return WorkedExample(
            question=(
                "A mean is estimated from 50 patients, standard deviation 10. How wide is its 95 % confidence interval "
                "(normal approximation)?"
            ),
            steps=((ExecuteCode(code=code), shown), (Submit(variable="answer"), "")),
        )


def stream(source: str, split: str, seed: int) -> Iterator[Task]:
    """Questions on the designs of a source, each design once a round until it is used up."""
    rng = random.Random(f"{source}/power/{split}/{seed}")
    unseen, biostat = split == "test_unseen", source == "biostat"
    designs = [design for design in DESIGNS if design.held_out == unseen and design.biostat == biostat]
    seen: set[str] = set()
    while designs:
        rng.shuffle(designs)
        for design in tuple(designs):
            task = next(filter(None, (draw_task(source, design, split, seen, rng) for _ in range(_PATIENCE))), None)
            if task is None:
                designs.remove(design)
            else:
                yield task


def split_of(key: str) -> str:
    """The split an instance of a design belongs to."""
    bucket = int.from_bytes(hashlib.sha256(f"npowerai|{key}".encode()).digest()[:4], "big") % 100
    return next(split for split, share in _SHARES.items() if bucket in share)


def draw_task(source: str, design: Design, split: str, seen: set[str], rng: random.Random) -> Task | None:
    """A task of the split that is not in ``seen`` yet, or ``None`` when the draw is none."""
    values = {name: rng.choice(choices) for name, choices in design.grid.items()}
    size_asked = rng.random() < 0.5
    target = rng.choice(_TARGETS) if size_asked else rng.uniform(*POWER_RANGE)
    story, ask = rng.randrange(len(design.stories)), rng.randrange(3)
    key = f"{design.name}:" + ",".join(f"{name}={value:g}" for name, value in sorted(values.items()))
    fits = design.held_out or split_of(key) == split
    if not fits or key in seen or not design.possible(values):
        return None
    n = sample_size(design, values, target)
    if n is None or not _SIZE_RANGE[0] <= n <= _SIZE_RANGE[1]:
        return None
    size = f"{n} in block {len(seen) // _BLOCK}"
    if size_asked and size in seen:
        return None
    seen |= {key, size} if size_asked else {key}
    return make_task(source, design, values, split, target if size_asked else None, n, story, ask)


def make_task(
    source: str, design: Design, values: Values, split: str, target: float | None, n: int, story: int, ask: int
) -> Task:
    """The question about ``n`` (``target`` power given), or about the power (``n`` given)."""
    texts = {name: f"{value:g}" for name, value in values.items()}
    asks = _POWER_ASKS if target is None else _SIZE_ASKS
    question = asks[ask].format(count=design.count, n=n, target=target, alpha=texts["alpha"])
    kind = "power" if target is None else "size"
    text = f"{design.stories[story].format(**texts)} {design.method} {question}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Task(
        id=f"{source}/{split}/{design.name}-{kind}-{digest}",
        source=source,
        split=split,
        question=text,
        template=f"{design.name}/{kind}-{story}-{ask}",
        category=f"{design.family}, {kind}",
        permitted=(ActionName.EXECUTE_CODE, ActionName.TERMINAL, ActionName.DEBUG, ActionName.SUBMIT),
        reference=Reference(answer=_answer(design, values, target, n), program=program(design, values, target, n)),
        metadata={"design": design.name, "parameters": dict(values)},
    )


def _answer(design: Design, values: Values, target: float | None, n: int) -> IntegerAnswer | RealAnswer:
    if target is not None:
        return IntegerAnswer(value=n)
    return RealAnswer(value=design.power(n, values), abs_tol=_POWER_TOLERANCE, rel_tol=0.0)


def program(design: Design, values: Values, target: float | None, n: int) -> str:
    """Python that leaves the answer in ``answer``; imports are cut to what is used."""
    body = design.program.format(**{name: f"{value:g}" for name, value in values.items()})
    header = "".join(_needed(line, body) for line in HEADER.splitlines())
    last = f"answer = power({n})" if target is None else _search(design.smallest, target)
    return f"{header}def power(n):\n{body}\n{last}"


def _needed(line: str, body: str) -> str:
    module, _, names = line.partition(" import ")
    used = [name for name in names.split(", ") if f"{name}(" in body or f"{name}." in body]
    return f"{module} import {', '.join(used)}\n" if used else ""


def _search(smallest: int, target: float) -> str:
    return (
        f"low = high = {smallest}\nwhile power(high) < {target}:\n    low, high = high + 1, 2 * high\n"
        "while low < high:\n    middle = (low + high) // 2\n"
        f"    low, high = (low, middle) if power(middle) >= {target} else (middle + 1, high)\nanswer = low"
    )


SOURCE = NPowerAI()
