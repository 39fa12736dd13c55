"""The source ``ehr_sql``: splits by template and by instance, tasks in a stable order, the database on demand.

``test_unseen`` asks the held-out templates; the other splits share the seen ones and never an instance. Templates take
turns, so every prefix of a split is balanced over them.
"""

import functools
import itertools
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Source
from copilot.envs.sources.ehr_sql import generator
from copilot.envs.sources.ehr_sql.schema import CONTEXT, NOW
from copilot.envs.sources.ehr_sql.template import RESERVED_BUCKET, Instance, Template
from copilot.envs.sources.ehr_sql.templates_seen import SEEN
from copilot.envs.sources.ehr_sql.templates_unseen import UNSEEN
from copilot.envs.sqlite_files import build_once, cache_folder, open_readonly, preamble, run_trusted
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError
from copilot.reward.answers import IntegerAnswer

DATABASE_SEED = 0
"""The first hospital that questions are about; the ``seed`` of :meth:`EhrSql.tasks` orders instances only."""

HOSPITAL_SHARE = 5000
"""Tasks of a split asked of one hospital before the next one is built, so that there is no last task."""

_VALUE_SHARE = 0.2
_MOST_SKIPPED = 40

_DEFAULT_SIZES = {"train": 2000, "valid": 200, "test_seen": 400, "test_unseen": 240}


def database(seed: int = DATABASE_SEED) -> Path:
    """The hospital of ``seed`` as a SQLite file, built on first use (about five seconds)."""
    name = f"v{generator.GENERATOR_VERSION}-seed{seed}"
    return build_once(
        cache_folder() / "data" / "ehr_sql" / name / "ehr.db", functools.partial(generator.fill, seed=seed)
    )


def templates(split: str) -> tuple[Template, ...]:
    """The question templates of a split."""
    return UNSEEN if split == "test_unseen" else SEEN


class EhrSql(Source):
    """Questions to a generated hospital in MIMIC-III's schema."""

    name: ClassVar[str] = "ehr_sql"
    title: ClassVar[str] = "EHR SQL: questions to a generated hospital database (MIMIC-III schema)"
    licence: ClassVar[str] = "Apache-2.0 (generated)"

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Tasks of a split, its templates taking turns; as many as asked for, of ever more hospitals."""
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}", remedy=f"one of {', '.join(self.splits)}")
        left = _DEFAULT_SIZES[split] if limit is None else limit
        for hospital in itertools.count(DATABASE_SEED):
            for task in itertools.islice(_of_hospital(hospital, split, seed), min(left, HOSPITAL_SHARE)):
                left -= 1
                yield task
            if left <= 0:
                return

    def files(self, task: Task) -> dict[str, Path]:
        """The database, as ``/data/ehr.db``.

        Raises:
            DataError: The task was made by another version of the generator, so its reference is not to be trusted.
        """
        made = task.metadata.get("generator")
        if made != generator.GENERATOR_VERSION:
            raise DataError(
                f"task {task.id} was made by generator version {made}, this is {generator.GENERATOR_VERSION}",
                remedy="cut the suite again: med-copilot tasks suite",
            )
        return {"ehr.db": database(task.metadata["database_seed"])}

    def preamble(self, task: Task) -> str:
        """``sql(query)``."""
        return preamble(NOW)

    def worked_example(self) -> WorkedExample:
        """A laboratory value of a patient; the instance is in no split."""
        with open_readonly(database()) as con:
            template = next(template for template in SEEN if template.key == "lab_aggregate")
            instance = next(
                i for i in template.instances(con) if i.bucket == RESERVED_BUCKET and i.in_sql["agg"] == "max"
            )
            value = run_trusted(con, instance.sql, now=NOW)[0][0]
        shown = feedback.of_cell(CellResult(status="ok"), answer=(value,)).text
        steps = ((ExecuteCode(code=f'answer = sql("{instance.sql}")'), shown), (Submit(variable="answer"), ""))
        return WorkedExample(question=instance.question, steps=steps)


def _of_hospital(hospital: int, split: str, seed: int) -> Iterator[Task]:
    """All tasks of a split about one hospital, its templates taking turns."""
    with open_readonly(database(hospital)) as con:
        streams = [_stream(con, template, hospital, split, seed) for template in templates(split)]
        while streams:
            for stream in list(streams):
                if (task := next(stream, None)) is None:
                    streams.remove(stream)
                else:
                    yield task


def _stream(con: sqlite3.Connection, template: Template, hospital: int, split: str, seed: int) -> Iterator[Task]:
    """The good instances of a template in a split, shuffled by seed.

    A count that is common already is passed over for a while, so that always saying 2 is right less often.
    """
    given: Counter[int] = Counter()
    skipped = 0
    for instance in template.instances(con, order=random.Random(f"{seed} {split} {template.key}")):
        if not instance.belongs(split) or (task := _task(con, instance, hospital, split)) is None:
            continue
        answer = task.reference.answer
        if isinstance(answer, IntegerAnswer):
            if given[answer.value] > _VALUE_SHARE * given.total() + 1 and skipped < _MOST_SKIPPED:
                skipped += 1
                continue
            given[answer.value] += 1
        skipped = 0
        yield task


def _task(con: sqlite3.Connection, instance: Instance, hospital: int, split: str) -> Task | None:
    answer = instance.reference(con)
    if answer is None:
        return None
    template = instance.template
    where = f"h{hospital}-" if hospital != DATABASE_SEED else ""
    return Task(
        id=f"ehr_sql/{split}/{where}{template.key}-{instance.digest[:10]}",
        source="ehr_sql",
        split=split,
        question=instance.question,
        context=CONTEXT,
        template=template.key,
        category=template.category,
        permitted=(ActionName.REQUEST_INFO, ActionName.EXECUTE_CODE, ActionName.DEBUG, ActionName.SUBMIT),
        reference=Reference(answer=answer, program=f'answer = sql("{instance.sql}")' if template.sql else ""),
        metadata={
            "slots": instance.in_sql,
            "generator": generator.GENERATOR_VERSION,
            "database_seed": hospital,
        },
    )


SOURCE = EhrSql()
