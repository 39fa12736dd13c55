"""Questions in EHRSQL's JSON files: one list of objects per split, read item by item.

An item that is not what it should be is named with file and number, skipped and counted; it never stops the rest.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from copilot.envs.data_folder import existing, read_json
from copilot.envs.ehrsql.sql import NULL
from copilot.errors import DataError
from copilot.reward.answers import Scalar

MALFORMED = "malformed item"
"""Reason under which skipped items are counted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """One item of a file."""

    key: str
    text: str
    sql: str
    """Gold query; empty when there is no answer."""
    template: str
    """Upstream's template: the question with holes."""
    values: dict[str, Scalar] = field(default_factory=dict)
    """Slot to value."""


def find_questions(root: Path, forms: Sequence[str], splits: Sequence[str]) -> dict[str, Path]:
    """Split to its file of questions, in the first of ``forms`` that is there.

    Raises:
        DataError: There is none; the first forms are named.
    """
    found: dict[str, Path] = {}
    for split in splits:
        paths = (existing(root / form.format(split=split)) for form in forms)
        if path := next(filter(None, paths), None):
            found[split] = path
    if not found:
        wanted = " or ".join(form.format(split=splits[-1]) for form in forms[:2])
        raise DataError("no questions in the folder", where=root, remedy=f"it needs {wanted}, plain or .gz")
    return found


def read_questions(path: Path, *, drops: Counter[str]) -> Iterator[Question]:
    """The questions of a file in order; items that are none are counted in ``drops``.

    Raises:
        DataError: The file is no JSON list.
    """
    items = read_json(path)
    if not isinstance(items, list):
        raise DataError("no list of questions", where=path, remedy="get the file anew from upstream")
    for number, item in enumerate(items, start=1):
        question = _question(item)
        if question is None:
            drops[MALFORMED] += 1
            _log.warning("%s, item %d skipped: no id, question or query", path, number)
        else:
            yield question


def _question(item: Any) -> Question | None:
    if not isinstance(item, dict):
        return None
    key, text, sql = (item.get(name) for name in ("id", "question", "query"))
    values = item.get("value") or {}
    if not all(isinstance(part, str) and part for part in (key, text, sql)) or not isinstance(values, dict):
        return None
    if not all(isinstance(value, str | int | float) for value in values.values()):
        return None
    template = str(item.get("q_tag") or item.get("template") or "")
    unanswerable = item.get("is_impossible") is True or sql == NULL
    return Question(str(key), str(text), "" if unanswerable else str(sql), template, values)
