"""EHRCon: does a clinical note agree with the structured record of its admission?

``train`` and ``test`` read the user's own copy under ``$MED_COPILOT_DATA/ehrcon`` in MedAgentGym's layout
(``train_tasks.jsonl``, ``test_tasks.jsonl``, ``EHRCon_combined.db``, ``clinical_notes.csv``); it is credentialed.
``train_form`` and ``test_form`` are look-alikes: notes generated from the rows of the MIMIC-III demo with planted
inconsistencies (:mod:`copilot.envs.ehrsql.notes`), split by patient. They ask about one entity, and for all entities
that disagree.
"""

import csv
import functools
import hashlib
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.csv_tables import schema
from copilot.envs.data_folder import data_root, read_json_lines
from copilot.envs.data_use import marked
from copilot.envs.ehrsql.notes import VERSION, Fact, Note, note_of
from copilot.envs.ehrsql.questions import MALFORMED
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Access, Source
from copilot.envs.sources.mimic_iii import NOW, MimicIII
from copilot.envs.sqlite_files import cache_folder, open_readonly, preamble
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError
from copilot.reward.answers import Answer, BooleanAnswer, SetAnswer

FOLDERS = ("ehrcon", "EHRCon")
"""Names looked for under ``$MED_COPILOT_DATA``."""

NOTE_COLUMNS = ("ROW_ID", "SUBJECT_ID", "HADM_ID", "CATEGORY", "TEXT")
"""Columns of the notes file that the generated one has too."""

PERMITTED = (
    ActionName.REQUEST_INFO, ActionName.TERMINAL, ActionName.EXECUTE_CODE, ActionName.DEBUG, ActionName.SUBMIT,
)  # fmt: skip
"""All five actions, as in the paper."""

_FORM = "_form"
_HELD_OUT = 30
_FILES = ("EHRCon_combined.db", "clinical_notes.csv")
_QUERIES = {
    "lab": "SELECT e.valuenum FROM labevents e JOIN d_labitems d USING(itemid) WHERE e.hadm_id = {hadm} "
    "AND d.label = '{entity}' AND e.charttime = '{moment}'",
    "drug": "SELECT dose_val_rx FROM prescriptions WHERE hadm_id = {hadm} AND drug = '{entity}' "
    "AND startdate = '{moment}'",
    "vital": "SELECT e.valuenum FROM chartevents e JOIN d_items d USING(itemid) WHERE e.hadm_id = {hadm} "
    "AND d.label = '{entity}' AND e.charttime = '{moment}'",
}
"""What the database says of a statement."""

_PROGRAM = '''
import csv
with open("/data/clinical_notes.csv", newline="") as file:
    note = next(row["TEXT"] for row in csv.DictReader(file) if row["HADM_ID"] == "{hadm}")
def disagrees(text, value, query):
    """Whether a statement of the note is not what the database says."""
    assert text in note
    found = sql(query)
    rows = found if isinstance(found, list) else [found]
    return all(abs(float(row) - value) > 1e-6 * abs(value) + 1e-9 for row in rows if row is not None)
'''

_log = logging.getLogger(__name__)


class EhrCon(Source):
    """Consistency of notes with tables."""

    name: ClassVar[str] = "ehrcon"
    title: ClassVar[str] = "EHRCon: notes against tables; the _form splits plant errors in notes made from demo rows"
    licence: ClassVar[str] = "form: demo ODbL 1.0; original: PhysioNet credentialed"
    splits: ClassVar[tuple[str, ...]] = ("train_form", "test_form", "train", "test")
    paper_row: ClassVar[str] = "EHRCon"
    look_alike: ClassVar[frozenset[str]] = frozenset({"train_form", "test_form"})
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="EHRCon 1.0.1 (credentialed)",
            apply="https://physionet.org/content/ehrcon-consistency-of-notes/ asks for a PhysioNet account, CITI "
            "training and a signed data use agreement",
            put="ehrcon/: train_tasks.jsonl and test_tasks.jsonl (Hospital admission, Medical entity, Has error), "
            "EHRCon_combined.db and clinical_notes.csv, as MedAgentGym prepares them",
        ),
    )

    @property
    def credentialed(self) -> bool:
        """Whether the original, or more than the demo, is here."""
        return self._original() is not None or MimicIII().credentialed

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Questions in a stable order; ``seed`` changes nothing."""
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}", remedy=f"one of {', '.join(self.splits)}")
        made = self._of_form(split) if split.endswith(_FORM) else self._of_original(split, Counter())
        yield from islice(made, limit)

    def dropped(self, split: str) -> Mapping[str, int]:
        """Lines of the original that are no question."""
        drops: Counter[str] = Counter()
        if not split.endswith(_FORM):
            for _ in self._of_original(split, drops):
                pass
        return drops

    def files(self, task: Task) -> dict[str, Path]:
        """The database as ``/data/ehr.db`` and the notes as ``/data/clinical_notes.csv``."""
        if "notes" in task.metadata:
            database = MimicIII().locate().database
            return {"ehr.db": database, "clinical_notes.csv": _notes_file(database)}
        folder = self._need_original()
        return {"ehr.db": folder / _FILES[0], "clinical_notes.csv": folder / _FILES[1]}

    def preamble(self, task: Task) -> str:
        """``sql(query)``."""
        return preamble(NOW)

    def worked_example(self) -> WorkedExample:
        """A count of notes; no split asks it."""
        code = (
            'import csv\nwith open("/data/clinical_notes.csv", newline="") as file:\n'
            "    answer = len(list(csv.DictReader(file)))"
        )
        database = MimicIII().locate().database
        shown = feedback.of_cell(CellResult(status="ok"), answer=(len(_notes(database)),)).text
        steps = ((ExecuteCode(code=code), shown), (Submit(variable="answer"), ""))
        return WorkedExample(question="How many clinical notes are there?", steps=steps)

    def _of_form(self, split: str) -> Iterator[Task]:
        found = MimicIII().locate()
        context = _context(found.database)
        for note in _notes(found.database):
            if (_bucket(note.subject_id) < _HELD_OUT) is not (split == "test_form"):
                continue
            for key, question, category, answer, program in _questions(note):
                yield Task(
                    id=f"{self.name}/{split}/{marked(f'{note.hadm_id}-{key}', found.credentialed)}",
                    source=self.name,
                    split=split,
                    question=question,
                    context=context,
                    template=category,
                    category=category,
                    permitted=PERMITTED,
                    reference=Reference(answer=answer, program=program),
                    metadata={"hadm_id": note.hadm_id, "notes": VERSION},
                )

    def _of_original(self, split: str, drops: Counter[str]) -> Iterator[Task]:
        folder = self._need_original()
        path = folder / f"{split}_tasks.jsonl"
        if not path.is_file():
            raise DataError(f"no {split} questions of {self.name} here", where=path, remedy=self.access[0].put)
        malformed: list[int] = []
        context = _context(folder / _FILES[0])
        for number, item in enumerate(read_json_lines(path, malformed=malformed), start=1):
            task = _original_task(split, number, item, context)
            if task is None:
                drops[MALFORMED] += 1
                _log.warning("%s, question %d skipped: no admission, entity or verdict", path, number)
            else:
                yield task
        drops.update({MALFORMED: len(malformed)} if malformed else {})

    def _original(self) -> Path | None:
        if not os.environ.get("MED_COPILOT_DATA"):
            return None
        folders = (data_root(self.name) / name for name in FOLDERS)
        return next((folder for folder in folders if folder.is_dir()), None)

    def _need_original(self) -> Path:
        folder = self._original()
        missing = [name for name in _FILES if folder is None or not (folder / name).is_file()]
        if folder is None or missing:
            raise DataError(
                f"the original EHRCon lacks {', '.join(missing)}",
                where=folder or data_root(self.name) / FOLDERS[0],
                remedy="med-copilot tasks fetch ehrcon says where to apply and where to put it",
            )
        return folder


def _questions(note: Note) -> Iterator[tuple[str, str, str, Answer, str]]:
    """Key, question, category, answer and program of a note's tasks: each entity, and which of a kind disagree."""
    setup = _PROGRAM.format(hadm=note.hadm_id)
    checks = {}
    for statement in note.statements:
        fact = statement.fact
        call = f"disagrees({statement.text!r}, {fact.value!r}, {_query(note, fact)!r})"
        checks[statement] = call
        digest = hashlib.sha256(fact.entity.encode()).hexdigest()[:8]
        yield (
            f"{fact.kind}-{digest}",
            f"Admission {note.hadm_id}: does the clinical note say anything about {fact.entity} ({_KINDS[fact.kind]}) "
            "that the database does not hold? Answer true if there is such an inconsistency, else false.",
            f"{fact.kind}: one entity",
            BooleanAnswer(value=statement.wrong),
            f"{setup}answer = {call}",
        )
    for kind in _KINDS:
        asked = [statement for statement in note.statements if statement.fact.kind == kind]
        wrong = sorted(statement.fact.entity for statement in asked if statement.wrong)
        if len(asked) >= 3 and wrong:
            pairs = ", ".join(f"({statement.fact.entity!r}, {checks[statement]})" for statement in asked)
            yield (
                f"{kind}-all",
                f"Admission {note.hadm_id}: of which {_PLURAL[kind]} does the clinical note say something that the "
                "database does not hold? List their names as the note gives them.",
                f"{kind}: all entities",
                SetAnswer(values=tuple(wrong)),
                f"{setup}answer = [name for name, wrong in [{pairs}] if wrong]",
            )


_KINDS = {"lab": "laboratory value", "drug": "prescription", "vital": "charted value"}
_PLURAL = {"lab": "laboratory tests", "drug": "drugs", "vital": "charted items"}


def _query(note: Note, fact: Fact) -> str:
    entity = fact.entity.replace("'", "''")
    return _QUERIES[fact.kind].format(hadm=note.hadm_id, entity=entity, moment=fact.moment)


def _original_task(split: str, number: int, item: dict[str, Any], context: str) -> Task | None:
    hadm, entity, wrong = (item.get(name) for name in ("Hospital admission", "Medical entity", "Has error"))
    if not isinstance(hadm, int | str) or not isinstance(entity, str) or not isinstance(wrong, bool):
        return None
    return Task(
        id=f"ehrcon/{split}/{marked(str(number), credentialed=True)}",
        source="ehrcon",
        split=split,
        question=f"Admission {hadm}: is there any inconsistency between the database and the clinical note about "
        f"{entity}? Answer true or false.",
        context=context,
        template="entity",
        category="one entity",
        permitted=PERMITTED,
        reference=Reference(answer=BooleanAnswer(value=wrong), program=f"answer = {wrong!r}"),
        metadata={"line": number, "annotated": True},
    )


def _context(database: Path) -> str:
    return "\n".join(
        (
            'SQLite database /data/ehr.db; sql("SELECT ...") runs a query. Text is lower case, times are '
            "'YYYY-MM-DD hh:mm:ss'. Tables:",
            schema(database),
            f"Clinical notes are in /data/clinical_notes.csv with the columns {', '.join(NOTE_COLUMNS)}.",
        )
    )


def _bucket(subject_id: int) -> int:
    return int(hashlib.sha256(f"ehrcon {subject_id}".encode()).hexdigest()[:8], 16) % 100


@functools.lru_cache(maxsize=2)
def _notes(database: Path) -> tuple[Note, ...]:
    """The notes of all admissions that have something to say."""
    with open_readonly(database) as con:
        stays = con.execute("SELECT hadm_id, subject_id FROM admissions ORDER BY hadm_id").fetchall()
        return tuple(note for note in (_note(con, *stay) for stay in stays) if note.statements)


def _note(con: sqlite3.Connection, hadm_id: int, subject_id: int) -> Note:
    return note_of(con, int(hadm_id), int(subject_id))


def _notes_file(database: Path) -> Path:
    """The notes as a file for the sandbox, written once per database."""
    digest = hashlib.sha256(f"{VERSION} {database}".encode()).hexdigest()[:16]
    target = cache_folder() / "data" / "ehrcon" / digest / "clinical_notes.csv"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(NOTE_COLUMNS)
            for number, note in enumerate(_notes(database)):
                rows.writerow((number, note.subject_id, note.hadm_id, "Discharge summary", note.text))
        os.replace(temporary, target)
    return target


SOURCE = EhrCon()
