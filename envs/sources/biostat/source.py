"""The source: a seeded stream of questions over clinical tables, every fourth one on the size of a planned study.

An instance (analysis, table, columns, groups, thresholds) belongs to one split by hash; four analyses are asked in
``test_unseen`` alone. Questions whose answer is not finite, too near zero for a relative tolerance, or rests on a few
rows are not asked.
"""

import hashlib
import math
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Source
from copilot.envs.sources.biostat.analyses import ANALYSES, Analysis
from copilot.envs.sources.biostat.tables import BY_NAME, TABLES, Column, Table, csv_file, frame
from copilot.envs.sources.npowerai.source import stream as planned_studies
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError, did_you_mean
from copilot.reward.answers import IntegerAnswer, RealAnswer

SIZES = {"train": 1200, "valid": 150, "test_seen": 200, "test_unseen": 150}
"""Default number of tasks per split."""
_RESTRICTED_SHARE = 0.6
"""Share of questions that look at a part of the table."""
_FEWEST = 15
"""Rows that a group and its complement must have."""
_PATIENCE = 200
_SHARES = {"train": range(0, 80), "valid": range(80, 90), "test_seen": range(90, 100)}

Slots = dict[str, float | int | str]


class BioStat(Source):
    """Statistics over clinical tables that PyPI packages carry, and over planned studies."""

    name: ClassVar[str] = "biostat"
    title: ClassVar[str] = "Biostatistics over clinical tables of PyPI packages, and study planning (generated)"
    licence: ClassVar[str] = "questions Apache-2.0; tables MIT (lifelines), BSD-3-Clause (scikit-learn, statsmodels)"

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """The stream of a split: every round asks each analysis once; no instance twice."""
        if split not in self.splits:
            raise DataError(f"no split {split!r} in biostat", remedy=did_you_mean(split, self.splits))
        for table in TABLES:
            csv_file(table.name)
        return islice(_stream(split, seed), SIZES[split] if limit is None else limit)

    def files(self, task: Task) -> dict[str, Path]:
        """The table, as ``/data/NAME.csv``; none for a planned study."""
        name = task.metadata.get("table")
        return {f"{name}.csv": csv_file(str(name))} if name else {}

    def worked_example(self) -> WorkedExample:
        """A coefficient of variation, which no split asks for."""
        x = frame("gbsg2")["age"]
        shown = feedback.of_cell(CellResult(status="ok"), answer=(float(x.std() / x.mean()),)).text
        code = "import pandas as pd\nage = pd.read_csv('/data/gbsg2.csv')['age']\nanswer = age.std() / age.mean()"
        question = f"{describe(BY_NAME['gbsg2'])}\n\nWhat is the coefficient of variation (n - 1) of age?"
        return WorkedExample(
            question=question, steps=((ExecuteCode(code=code), shown), (Submit(variable="answer"), ""))
        )


def describe(table: Table) -> str:
    """What a prompt says of a table."""
    columns = ", ".join(str(name) for name in frame(table.name).columns)
    return f"/data/{table.name}.csv: {table.about}. Columns: {columns}. Empty cells are unknown values."


def _stream(split: str, seed: int) -> Iterator[Task]:
    rng = random.Random(f"biostat/{split}/{seed}")
    analyses = [a for a in ANALYSES if a.held_out == (split == "test_unseen")]
    studies, seen = planned_studies("biostat", split, seed), set[str]()
    number = 0
    while analyses:
        rng.shuffle(analyses)
        for analysis in tuple(analyses):
            task = next(filter(None, (draw_task(analysis, split, seen, rng) for _ in range(_PATIENCE))), None)
            if task is None:
                analyses.remove(analysis)
                continue
            yield task
            number += 1
            if number % 3 == 0:
                yield from islice(studies, 1)


def split_of(key: str) -> str:
    """The split an instance belongs to."""
    bucket = int.from_bytes(hashlib.sha256(f"biostat|{key}".encode()).digest()[:4], "big") % 100
    return next(split for split, share in _SHARES.items() if bucket in share)


def draw_task(analysis: Analysis, split: str, seen: set[str], rng: random.Random) -> Task | None:
    """A task of the split that is not in ``seen`` yet, or ``None`` when the draw is none."""
    table = rng.choice([table for table in TABLES if _able(analysis, table)])
    data, part = _restrict(table, rng)
    slots = _fill(analysis, table, data, rng)
    ask = rng.randrange(3)
    if slots is None:
        return None
    key = f"{analysis.name}|{table.name}|{part}|" + ",".join(f"{k}={v}" for k, v in sorted(slots.items()))
    if key in seen or not (analysis.held_out or split_of(key) == split):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        value = analysis.compute(data, slots)
    if not math.isfinite(value) or (abs(value) < 0.005 and not analysis.whole):
        return None
    seen.add(key)
    return _task(analysis, table, part, slots, ask, value, split)


def _able(analysis: Analysis, table: Table) -> bool:
    """Whether a table has what an analysis needs."""
    timed = not analysis.needs & {"s", "t"} or table.survival is not None
    return timed and ("g" not in analysis.needs or bool(table.groups))


def _restrict(table: Table, rng: random.Random) -> tuple[pd.DataFrame, tuple[str, float] | None]:
    """The table, or the rows of it with a measurement above a decile."""
    data = frame(table.name)
    if rng.random() >= _RESTRICTED_SHARE:
        return data, None
    column = rng.choice(table.numbers).name
    cut = _threshold(data[column], rng, 0.1, 0.5)
    return data[data[column] > cut], (column, cut)


def _threshold(column: "pd.Series[float]", rng: random.Random, low: float, high: float) -> float:
    """A round number between two quantiles."""
    drawn = float(column.quantile(rng.uniform(low, high)))
    return float(f"{drawn:.3g}")


def _fill(analysis: Analysis, table: Table, data: pd.DataFrame, rng: random.Random) -> Slots | None:
    slots: Slots = {}
    columns: list[Column] = rng.sample(table.numbers, 2)
    for slot, column in zip("xy", columns, strict=True):
        if slot in analysis.needs:
            slots |= {slot: column.words, f"{slot}_column": column.name}
    if "g" in analysis.needs:
        group = rng.choice(table.groups)
        value, words = rng.choice(list(group.labels.items()))
        slots |= {"g": words, "g_column": group.column, "g_value": value}  # type: ignore[dict-item]
        size = int((data[group.column] == value).sum())
        if not _FEWEST <= size <= len(data) - _FEWEST:
            return None
    if "cut" in analysis.needs:
        slots["cut"] = _threshold(data[columns[0].name], rng, 0.2, 0.8)
    if analysis.needs & {"s", "t"} and table.survival:
        slots |= dict(zip(("time", "event", "unit"), table.survival, strict=True))
        if "t" in analysis.needs:
            slots["t"] = _threshold(data[table.survival[0]], rng, 0.1, 0.9)
        if columns[0].name == table.survival[0] and "x" in analysis.needs:
            return None
    return slots


def _task(
    analysis: Analysis,
    table: Table,
    part: tuple[str, float] | None,
    slots: Slots,
    ask: int,
    value: float,
    split: str,
) -> Task:
    texts = {name: f"{v:g}" if isinstance(v, float) else v for name, v in slots.items()}
    within = f"Use only the rows with {part[0]} above {part[1]:g}. " if part else ""
    subset = f"df = df[df['{part[0]}'] > {part[1]:g}]\n" if part else ""
    header = f"import pandas as pd\ndf = pd.read_csv('/data/{table.name}.csv')\n{subset}"
    question = within + analysis.asks[ask].format(**texts)
    digest = hashlib.sha256(f"{table.name}|{question}".encode()).hexdigest()[:12]
    answer = IntegerAnswer(value=round(value)) if analysis.whole else RealAnswer(value=value, rel_tol=analysis.rel_tol)
    return Task(
        id=f"biostat/{split}/{analysis.name}-{table.name}-{digest}",
        source="biostat",
        split=split,
        question=question,
        context=describe(table),
        template=f"{analysis.name}/{ask}" + ("-part" if part else ""),
        category=analysis.family,
        permitted=(
            ActionName.REQUEST_INFO, ActionName.EXECUTE_CODE, ActionName.TERMINAL, ActionName.DEBUG, ActionName.SUBMIT
        ),
        reference=Reference(answer=answer, program=header + analysis.program.format(**texts)),
        metadata={"analysis": analysis.name, "table": table.name, "slots": dict(slots)},
    )  # fmt: skip


SOURCE = BioStat()
