"""EHR-SeqSQL: questions to MIMIC-III asked in sequence, each about what the ones before it found.

``train`` and ``test`` read the user's own copy of upstream's ``data.json`` (seonhee99/EHR-SeqSQL) under
``$MED_COPILOT_DATA/EHR-SeqSQL``, on the database of the source ``mimic_iii``. ``train_form`` and ``test_form`` are
look-alikes: chains cut from the nested SQL of EHRSQL's questions (:mod:`copilot.envs.ehrsql.chains`). They hold
question templates apart: a template's chains are all in one of them.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from copilot.envs.data_folder import data_root, existing, read_json
from copilot.envs.ehrsql.answers import fault_of_rows, typed_answer
from copilot.envs.ehrsql.chains import Turn, asked, chain_of
from copilot.envs.ehrsql.grounding import Vocabulary
from copilot.envs.ehrsql.questions import MALFORMED, Question
from copilot.envs.ehrsql.source import EhrSqlQuestions, Located
from copilot.envs.ehrsql.sql import template_key
from copilot.envs.ehrsql.store import Entry
from copilot.envs.sources.base import Access
from copilot.envs.sources.mimic_iii import NOW, VOCABULARY, MimicIII
from copilot.envs.sqlite_files import open_readonly, run_trusted
from copilot.envs.task import Task
from copilot.errors import DataError

FOLDERS = ("EHR-SeqSQL", "ehr_seqsql")
"""Names looked for under ``$MED_COPILOT_DATA``."""

_log = logging.getLogger(__name__)
_FORM = "_form"
_HELD_OUT = 25
"""Percent of templates in ``test_form``."""


class EhrSeqSql(EhrSqlQuestions):
    """Sequences of questions to MIMIC-III."""

    name: ClassVar[str] = "ehr_seqsql"
    title: ClassVar[str] = "EHR-SeqSQL: questions in sequence; the _form splits are cut from EHRSQL's nested SQL"
    licence: ClassVar[str] = "form: questions CC BY 4.0, demo ODbL 1.0; original: none given"
    splits: ClassVar[tuple[str, ...]] = ("train_form", "test_form", "train", "test")
    paper_row: ClassVar[str] = "EHR-SeqSQL"
    look_alike: ClassVar[frozenset[str]] = frozenset({"train_form", "test_form"})
    now: ClassVar[str] = NOW
    vocabulary: ClassVar[Vocabulary] = VOCABULARY
    example: ClassVar[tuple[str, str]] = MimicIII.example
    notes: ClassVar[str] = MimicIII.notes
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="EHR-SeqSQL (ACL 2024 Findings)",
            apply="https://github.com/seonhee99/EHR-SeqSQL holds data.json; it gives no licence, so it is not fetched",
            put="EHR-SeqSQL/data.json, beside the database of mimic_iii (med-copilot tasks fetch mimic_iii)",
        ),
    )

    def locate(self) -> Located:
        """The database of ``mimic_iii``, and upstream's file where the user has it."""
        found = MimicIII().locate()
        files = (existing(data_root(self.name) / folder / "data.json") for folder in FOLDERS)
        original = next(filter(None, files), None)
        questions = dict.fromkeys(("train", "test"), original) if original else {}
        return Located(questions, found.database, found.credentialed)

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Turns of chains in a stable order; ``seed`` changes nothing."""
        if not split.endswith(_FORM):
            yield from super().tasks(split, limit=limit, seed=seed)
            return
        found = self.locate()
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}", remedy=f"one of {', '.join(self.splits)}")
        context = self._context(found.database)
        for entry in islice(self._cut(found, split), limit):
            yield self._task(split, entry, context, credentialed=found.credentialed)

    def dropped(self, split: str) -> Mapping[str, int]:
        """Upstream's turns without an answer here; a form drops nothing."""
        return {} if split.endswith(_FORM) else super().dropped(split)

    def read(self, path: Path, split: str, *, drops: Counter[str]) -> Iterator[Question]:
        """The turns of upstream's items of a split, each as a question of its own."""
        items = read_json(path)
        if not isinstance(items, list):
            raise DataError("no list of items", where=path, remedy="get data.json anew from upstream")
        for number, item in enumerate(items, start=1):
            turns = _turns(item)
            if turns is None:
                drops[MALFORMED] += 1
                _log.warning("%s, item %d skipped: no id, goal, or as many questions as queries", path, number)
            elif item.get("random_split") == split:
                for place, turn in enumerate(turns):
                    text = f"Goal: {item['seed_question']}\n{asked(turns, place)}"
                    key, template = f"{item['id']}-{place + 1}", f"{item.get('question_template')} {place}"
                    yield Question(key, text, turn.sql, template, dict(item.get("value") or {}))

    def _cut(self, found: Located, split: str) -> Iterator[Entry]:
        """Chains of the questions of ``mimic_iii``, turn by turn; a turn that asks the same as another is left out."""
        source, seen = MimicIII(), set()
        with open_readonly(found.database) as con:
            for name in source.locate().questions:
                for task in source.tasks(name):
                    side = "test_form" if int(task.template, 16) % 100 < _HELD_OUT else "train_form"
                    sql = task.metadata["sql"]
                    turns = chain_of(task.question, sql) if sql else []
                    for number, turn in enumerate(turns if len(turns) > 1 else []):
                        question = asked(turns, number)
                        if question in seen:  # on either side
                            continue
                        seen.add(question)
                        rows = run_trusted(con, turn.sql, now=NOW) if side == split else []
                        if fault_of_rows(rows) is not None:
                            continue
                        last = number == len(turns) - 1
                        yield Entry(
                            key=f"{task.metadata['upstream_id']}-{number + 1}",
                            question=question,
                            sql=turn.sql,
                            answer=task.reference.answer if last else typed_answer(rows, turn.sql),
                            values=task.metadata["values"],
                            template=template_key(f"{task.template} {number}"),
                            category=f"turn {min(number + 1, 4)}",
                        )


def _turns(item: Any) -> list[Turn] | None:
    if not isinstance(item, dict) or not isinstance(item.get("seed_question"), str) or "id" not in item:
        return None
    questions, queries = item.get("question"), item.get("sql")
    if not isinstance(questions, list) or not isinstance(queries, list) or len(questions) != len(queries):
        return None
    if not questions or not all(isinstance(part, str) for part in (*questions, *queries)):
        return None
    return [Turn(text, sql) for text, sql in zip(questions, queries, strict=True)]


SOURCE = EhrSeqSql()
