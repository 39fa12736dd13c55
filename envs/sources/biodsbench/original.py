"""The original: 118 Python tasks with asserts, and the studies they need, from the user's disk."""

import ast
import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from copilot.envs.data_folder import data_root, existing, find_folder, read_json_lines

FOLDERS = ("biodsbench_tasks", "BioDSBench", "BioDSBench-Python")
"""Names looked for under ``$MED_COPILOT_DATA``."""
_FILES = (
    "python_tasks_with_class.jsonl",
    "dataset/python_tasks_with_class.jsonl",
    "BioDSBench-Python/dataset/python_tasks_with_class.jsonl",
)
_STUDIES = (
    "biodsbench_studies",
    "biodsbench_tasks/data_files",
    "BioDSBench/data_files",
    "BioDSBench-Python/data_files",
)
_OF_MODELS = {"percentile", "cumulative_density_", "summary", "params_", "hazard_ratios_", "coef_", "predict", "score"}
"""Attributes of fitted models, which are no data and cannot leave a sandbox."""


@dataclass(frozen=True)
class Item:
    """One upstream task that can be asked here."""

    key: str
    study: str
    question: str
    history: str
    """Code that upstream runs first."""
    solution: str
    checks: tuple[str, ...]
    tables: dict[str, Path]
    category: str


@lru_cache(maxsize=1)
def read(root: Path) -> tuple[tuple[Item, ...], Counter[str]]:
    """The tasks that can be asked, and how many cannot, by reason."""
    dropped: Counter[str] = Counter()
    malformed: list[int] = []
    items = [item for record in read_json_lines(_file(root), malformed=malformed) if (item := _item(record, dropped))]
    if malformed:
        dropped["malformed line"] += len(malformed)
    return tuple(items), dropped


def folder() -> Path:
    """Where the tasks lie.

    Raises:
        DataError: Nowhere.
    """
    return find_folder("biodsbench", FOLDERS)


def _file(root: Path) -> Path:
    return next((path for name in _FILES if (path := existing(root / name))), root / _FILES[0])


def _item(record: dict[str, Any], dropped: Counter[str]) -> Item | None:
    checks = split_checks(str(record.get("test_cases", "")))
    study = str(record.get("study_ids", ""))
    tables = _tables(study, str(record.get("tables") or "[]"))
    if not checks:
        dropped["no assert that can be read"] += 1
    elif any(_needs_model(check) for check in checks):
        dropped["asserts call fitted models"] += 1
    elif tables is None:
        dropped["its study is not here"] += 1
    else:
        return Item(
            key=str(record.get("unique_question_ids")),
            study=study,
            question=_paths(str(record["queries"])),
            history=_paths(str(record.get("code_histories") or "")),
            solution=_paths(str(record["reference_answer"])),
            checks=checks,
            tables=tables,
            category=str(record.get("study_types") or "study"),
        )
    return None


def split_checks(text: str) -> tuple[str, ...]:
    """Each assert as a program of its own, with the statements that stand before it."""
    try:
        body = ast.parse(text).body
    except SyntaxError:  # counted by the caller
        return ()
    setup = [node for node in body if isinstance(node, ast.Assign | ast.Import | ast.ImportFrom)]
    prefix = "".join(f"{ast.unparse(node)}\n" for node in setup)
    return tuple(prefix + ast.unparse(node) for node in body if isinstance(node, ast.Assert))


def _needs_model(check: str) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr in _OF_MODELS for node in ast.walk(ast.parse(check)))


def _tables(study: str, listed: str) -> dict[str, Path] | None:
    """The study's files by name, or ``None`` when one is missing."""
    root = data_root("biodsbench")
    names = [str(name).rsplit("/", 1)[-1] for name in json.loads(listed)]
    for parent in _STUDIES:
        found = {name: path for name in names if (path := root / parent / study / name).is_file()}
        if names and len(found) == len(names):
            return found
    return None


def _paths(text: str) -> str:
    return text.replace("./workdir", "/data").replace("/workdir", "/data")
