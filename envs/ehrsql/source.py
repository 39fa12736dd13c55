"""The base of sources that ask EHRSQL's questions of a database in EHRSQL's schema.

A subclass says where questions and database lie and what the schema's values are called. Questions are re-grounded on
the database at hand (see :mod:`copilot.envs.ehrsql.grounding`); what finds no answer there is dropped and counted.
The database is taken for credentialed unless it is known to be an open demo, and ids of tasks carry the mark.
"""

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.csv_tables import schema
from copilot.envs.data_use import marked
from copilot.envs.ehrsql.grounding import Grounded, Grounder, Vocabulary
from copilot.envs.ehrsql.questions import Question, read_questions
from copilot.envs.ehrsql.sql import kind_of, template_key
from copilot.envs.ehrsql.store import Entry, read_drops, read_entries, store_of, write_entries
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Source
from copilot.envs.sqlite_files import open_readonly, preamble, run_trusted
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError
from copilot.reward.answers import UnanswerableAnswer

PERMITTED = (ActionName.REQUEST_INFO, ActionName.EXECUTE_CODE, ActionName.DEBUG, ActionName.SUBMIT)
"""Actions of the EHR question sources, as in the paper."""


@dataclass(frozen=True)
class Located:
    """A user's data."""

    questions: Mapping[str, Path]
    """Split to its file of questions."""
    database: Path
    """SQLite file."""
    credentialed: bool
    """Whether the database is under a data use agreement."""


class EhrSqlQuestions(Source):
    """EHRSQL's questions to one of its databases."""

    splits: ClassVar[tuple[str, ...]] = ("train", "valid", "test")
    now: ClassVar[str]
    """The fixed present of the database."""
    vocabulary: ClassVar[Vocabulary]
    """Where its values are."""
    example: ClassVar[tuple[str, str]]
    """Question and SQL of the worked example."""
    notes: ClassVar[str] = ""
    """What the prompt says about the schema besides its columns."""
    text_case: ClassVar[str] = "Text is lower case"
    """What the prompt says about the database's texts."""

    @abstractmethod
    def locate(self) -> Located:
        """Find the user's data.

        Raises:
            DataError: Something is missing; it is named.
        """

    def read(self, path: Path, split: str, *, drops: Counter[str]) -> Iterator[Question]:
        """The questions of a file that are in a split; what is malformed is counted in ``drops``."""
        return read_questions(path, drops=drops)

    def unfit(self, question: Question) -> str | None:
        """Why a question cannot be asked of this database at all."""
        return None

    @property
    def credentialed(self) -> bool:
        """Whether the database found is under a data use agreement; where none is found, it is assumed to be."""
        try:
            return self.locate().credentialed
        except DataError:  # nothing here to look at: what was recorded from it elsewhere must stay closed
            return True

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Questions of a split in upstream's order, re-grounded; ``seed`` changes nothing."""
        found = self.locate()
        path = self._file(found, split)
        context = self._context(found.database)
        for entry in islice(self._entries(found, path, split), limit):
            yield self._task(split, entry, context, credentialed=found.credentialed)

    def dropped(self, split: str) -> Mapping[str, int]:
        """Questions without a good answer on this database, by reason."""
        found = self.locate()
        path = self._file(found, split)
        for _ in self._entries(found, path, split):
            pass
        return read_drops(store_of(self.name, split, path, found.database))

    def _entries(self, found: Located, path: Path, split: str) -> Iterator[Entry]:
        """What is kept of a file: from the cache, or made one by one and cached when all are made."""
        store = store_of(self.name, split, path, found.database)
        if store.is_file():
            yield from read_entries(store)
            return
        drops: Counter[str] = Counter()
        entries = []
        with open_readonly(found.database) as con:
            grounder = Grounder(con, self.vocabulary, self.now)
            for question in self.read(path, split, drops=drops):
                grounded = self._ground(grounder, question)
                if isinstance(grounded, str):
                    drops[grounded] += 1
                else:
                    entries.append(_entry(question, grounded))
                    yield entries[-1]
        write_entries(store, entries, drops)

    def files(self, task: Task) -> dict[str, Path]:
        """The database, as ``/data/ehr.db``."""
        return {"ehr.db": self.locate().database}

    def preamble(self, task: Task) -> str:
        """``sql(query)``."""
        return preamble(self.now)

    def worked_example(self) -> WorkedExample:
        """A count over two tables; no split asks it."""
        question, sql = self.example
        with open_readonly(self.locate().database) as con:
            value = run_trusted(con, sql, now=self.now)[0][0]
        shown = feedback.of_cell(CellResult(status="ok"), answer=(value,)).text
        steps = ((ExecuteCode(code=f"answer = sql({json.dumps(sql)})"), shown), (Submit(variable="answer"), ""))
        return WorkedExample(question=question, steps=steps)

    def _file(self, found: Located, split: str) -> Path:
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}", remedy=f"one of {', '.join(self.splits)}")
        if split not in found.questions:
            raise DataError(
                f"no {split} questions of {self.name} here",
                where=next((path.parent for path in found.questions.values()), None),
                remedy=f"med-copilot tasks fetch {self.name} says how to get them",
            )
        return found.questions[split]

    def _context(self, database: Path) -> str:
        head = (
            f'SQLite database /data/ehr.db; sql("SELECT ...") runs a query. {self.text_case}, times are '
            f"'YYYY-MM-DD hh:mm:ss', current_time is '{self.now}'. Tables:"
        )
        return "\n".join(part for part in (head, schema(database), self.notes) if part)

    def _ground(self, grounder: Grounder, question: Question) -> Grounded | str:
        if not question.sql:
            return Grounded(grounder.reword(question.key, question.text), "", UnanswerableAnswer(), {}, False)
        if reason := self.unfit(question):
            return reason
        return grounder.ground(question.key, question.text, question.sql, question.values)

    def _task(self, split: str, entry: Entry, context: str, *, credentialed: bool) -> Task:
        program = f"answer = sql({json.dumps(entry.sql)})" if entry.sql else ""
        return Task(
            id=f"{self.name}/{split}/{marked(entry.key, credentialed)}",
            source=self.name,
            split=split,
            question=entry.question,
            context=context,
            template=entry.template,
            category=entry.category,
            permitted=PERMITTED,
            reference=Reference(answer=entry.answer, program=program),
            metadata={"upstream_id": entry.key, "sql": entry.sql, "values": dict(entry.values)},
        )


def _entry(question: Question, found: Grounded) -> Entry:
    return Entry(
        key=question.key,
        question=found.question,
        sql=found.sql,
        answer=found.answer,
        values=found.values,
        template=template_key(question.template),
        category=kind_of(question.sql),
    )
