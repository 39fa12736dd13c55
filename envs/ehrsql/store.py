"""Re-grounded questions kept in the cache: a pass over a big database takes minutes, and its result never changes.

A file is named by what it was made from (questions, database, version) and written only after a whole pass. It may hold
text derived from credentialed data, so nobody but its owner can read it.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from copilot.config import Record
from copilot.envs.csv_tables import content_digest
from copilot.envs.sqlite_files import cache_folder
from copilot.reward.answers import Answer, Scalar

VERSION = 1
"""Raise it whenever the same question on the same database becomes another task."""


class Entry(Record):
    """A question that is kept."""

    key: str
    """Upstream's id."""
    question: str
    """With the database's values."""
    sql: str
    """Gold query; empty when there is no answer."""
    answer: Answer
    """Its typed answer."""
    values: Mapping[str, Scalar]
    """Slot to value."""
    template: str
    """Key of the template."""
    category: str
    """Kind of question."""


def store_of(source: str, split: str, questions: Path, database: Path) -> Path:
    """The file that keeps the questions of one file and split on one database."""
    made_from = content_digest({f"v{VERSION} {split} {database}": questions})
    return cache_folder() / "data" / source / f"questions-{made_from}.jsonl"


def write_entries(path: Path, entries: Iterable[Entry], drops: Mapping[str, int]) -> None:
    """Write a whole pass; the first line holds the counts of what was dropped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(json.dumps(drops) + "\n")
        file.writelines(entry.model_dump_json() + "\n" for entry in entries)
    os.replace(temporary, path)


def read_entries(path: Path) -> Iterator[Entry]:
    """What is kept, in order."""
    with open(path, encoding="utf-8") as file:
        next(file)
        yield from map(Entry.model_validate_json, file)


def read_drops(path: Path) -> Counter[str]:
    """What was dropped, by reason."""
    with open(path, encoding="utf-8") as file:
        return Counter(json.loads(next(file)))
