"""MedCalc-Bench (NeurIPS 2024): clinical calculations over patient notes, from the user's disk.

Decision: the note is in the question, unlike in the release of arXiv 2506.04405, and an answer is graded by type: whole
numbers exactly, decimals within 1 % of the truth and never beyond upstream's own limits (widened by half a unit of the
last decimal upstream keeps, since a dose of 6.946 mg has limits of no width), due dates as dates, gestational ages as
weeks and days. Upstream's usual limits of 5 % were made for models that calculate in their heads; with code they are
only generous to guesses: the constant 100 is within them for 5 % of all decimals.

Read are the cut ``medcalc_bench`` (942 rows of upstream's train split whose notes are not in its test split) and a
clone of upstream with its ``train_data.csv`` and ``test_data.csv``. Training rows whose note is also asked in test, or
in the cut, are left out and counted.
"""

import ast
import csv
import functools
import gzip
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.data_folder import data_root, existing, open_text
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Download, Source
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError
from copilot.reward.answers import DateAnswer, IntegerAnswer, IntervalAnswer, RealAnswer
from copilot.reward.intervals import read_interval

FOLDERS = ("medcalc_bench", "MedCalc-Bench", "medcalcbench")
"""Names looked for under ``$MED_COPILOT_DATA``; upstream's clone may have its files in a folder of its own."""

_FILES = {
    "train": ("train_data.csv", "dataset/train_data.csv", "datasets/train_data.csv", "datasets/train_data.csv.zip"),
    "dev": ("medcalc_v1_dev_no_test_notes.csv",),
    "test": ("test_data.csv", "dataset/test_data.csv", "datasets/test_data.csv"),
}
_COLUMNS = (
    "Row Number", "Calculator ID", "Calculator Name", "Category", "Output Type", "Note ID", "Patient Note", "Question",
    "Ground Truth Answer", "Lower Limit", "Upper Limit", "Ground Truth Explanation",
)  # fmt: skip
_HELD_IN = {"train": ("dev", "test"), "dev": ("test",), "test": ()}
"""Splits whose notes a split must not use."""
_RAW = "https://raw.githubusercontent.com/ncbi-nlp/MedCalc-Bench/20b10f9d66a8c3b0356ae3138533f5ec91666b6a"
_LONGEST_CELL = 10_000_000
_CLOSE = 0.01
"""Accepted relative difference of a decimal."""

Row = Mapping[str, str]
Value = IntegerAnswer | RealAnswer | DateAnswer | IntervalAnswer


class MedCalcBench(Source):
    """MedCalc-Bench: 55 bedside calculators over published case reports."""

    name: ClassVar[str] = "medcalcbench"
    title: ClassVar[str] = "MedCalc-Bench: clinical calculations over case reports"
    licence: ClassVar[str] = "CC BY-SA 4.0"
    splits: ClassVar[tuple[str, ...]] = ("train", "dev", "test")
    paper_row: ClassVar[str] = "MedCalcBench"
    kept_floor: ClassVar[Mapping[str, Fraction]] = {"dev": Fraction(98, 100), "test": Fraction(98, 100)}
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(
            url=f"{_RAW}/datasets/{file}", path=f"MedCalc-Bench/datasets/{file}", git_blob=blob, licence="CC BY-SA 4.0"
        )
        for file, blob in (
            ("train_data.csv.zip", "38e9bc711ae36ac338eaeb9f2353de8bf084b19c"),
            ("test_data.csv", "0aabdb731ede27c04357a5cd01623462ede5b972"),
        )
    )

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Rows of a split in upstream's order; ``seed`` changes nothing."""
        for number, task in enumerate(_read(*_paths(split)).tasks):
            if limit is not None and number >= limit:
                return
            yield task

    def dropped(self, split: str) -> Mapping[str, int]:
        """Rows left out: without a usable truth, or with a note that another split asks about."""
        return _read(*_paths(split)).dropped

    def files(self, task: Task) -> dict[str, Path]:
        """No files: the note is in the question."""
        return {}

    def worked_example(self) -> WorkedExample:
        """The rate-pressure product, which is none of the calculators."""
        shown = feedback.of_cell(CellResult(status="ok"), answer=(96 * 150,)).text
        question = (
            "A 58-year-old woman came with palpitations. Her pulse was 96 per minute, her blood pressure 150/85 mmHg; "
            "she was afebrile.\n\nWhat is the patient's rate-pressure product (heart rate times systolic pressure)?"
        )
        steps = ((ExecuteCode(code="answer = 96 * 150"), shown), (Submit(variable="answer"), ""))
        return WorkedExample(question=question, steps=steps)


class Rows:
    """The tasks of a file, and what was left out."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.dropped: Counter[str] = Counter()


def _paths(split: str) -> tuple[str, Path, tuple[Path, ...]]:
    """The split, its file, and the files whose notes it must not use."""
    if split not in MedCalcBench.splits:
        raise DataError(f"medcalcbench has no split {split!r}", remedy=f"one of {', '.join(MedCalcBench.splits)}")
    path = _find(split)
    if path is None:
        raise DataError(
            f"no MedCalc-Bench file for split {split!r}",
            where=data_root("medcalcbench"),
            remedy=f"put {_FILES[split][0]} into one of the folders {', '.join(FOLDERS)}",
        )
    return split, path, tuple(other for name in _HELD_IN[split] if (other := _find(name)))


def _find(split: str) -> Path | None:
    root = data_root("medcalcbench")
    candidates = (existing(root / folder / name) for folder in FOLDERS for name in _FILES[split])
    return next((path for path in candidates if path), None)


@functools.lru_cache(maxsize=4)
def _read(split: str, path: Path, others: tuple[Path, ...]) -> Rows:
    foreign = {note_key(row) for other in others for row in read_rows(other)}
    found, seen = Rows(), set[tuple[str, str]]()
    for row in read_rows(path):
        key = (note_key(row), row["Question"])
        answer = read_answer(row)
        if answer is None:
            found.dropped["truth or limits cannot be read"] += 1
        elif key[0] in foreign:
            found.dropped["note is in another split"] += 1
        elif key in seen:
            found.dropped["asked twice"] += 1
        else:
            seen.add(key)
            found.tasks.append(make_task(split, row, answer))
    return found


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a MedCalc-Bench file.

    Raises:
        DataError: Columns are missing, or the file is broken.
    """
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with open_text(path) as file:
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"columns are missing: {', '.join(missing)}", where=path, remedy="get the file anew")
            for row in reader:
                yield {name: row[name] or "" for name in _COLUMNS}
    except (UnicodeDecodeError, EOFError, csv.Error, gzip.BadGzipFile) as error:
        raise DataError(f"not readable as CSV: {error}", where=path, remedy="get the file anew") from error


def note_key(row: Row) -> str:
    """What makes two notes the same: their words."""
    return " ".join(row["Patient Note"].casefold().split())


def read_answer(row: Row) -> Value | None:
    """The typed reference of a row, or ``None`` when upstream's truth is none."""
    truth, limits = row["Ground Truth Answer"], (row["Lower Limit"], row["Upper Limit"])
    if row["Output Type"] == "date":
        return _read_moment(truth)
    numbers = [_float(text) for text in (truth, *limits)]
    if any(number is None for number in numbers):
        return None
    value, *rest = (number for number in numbers if number is not None)
    low, high = sorted(rest)
    if value == low == high == int(value):
        return IntegerAnswer(value=int(value))
    # upstream rounds truth and limits; half a unit of the coarser of them is nobody's error
    pad = 0.5 * 10.0 ** -min(3, max(_decimals(text) for text in (truth, *limits)) or 3)
    if not low - pad <= value <= high + pad:
        return None
    near = _CLOSE * abs(value)
    return RealAnswer(value=value, lower=max(low, value - near) - pad, upper=min(high, value + near) + pad)


def _read_moment(truth: str) -> DateAnswer | IntervalAnswer | None:
    if match := re.fullmatch(r"\s*(\d{1,2})/(\d{1,2})/(\d{4})\s*", truth):
        month, day, year = map(int, match.groups())
        try:
            return DateAnswer(value=date(year, month, day).isoformat())
        except ValueError:  # no such day: counted as unreadable
            return None
    try:
        days = read_interval(ast.literal_eval(truth))
    except (ValueError, SyntaxError):
        days = read_interval(truth)
    return None if days is None else IntervalAnswer(days=days)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _decimals(text: str) -> int:
    return len(text.strip().partition(".")[2])


def make_task(split: str, row: Row, answer: Value) -> Task:
    """A row as a task: the note, then the question; the worked solution stands as comments in the program."""
    value = (
        answer.value if not isinstance(answer, IntervalAnswer) else f"{answer.days // 7} weeks, {answer.days % 7} days"
    )
    explanation = "".join(f"# {line}\n" for line in row["Ground Truth Explanation"].splitlines() if line.strip())
    key = f"{row['Calculator ID']}-{row['Row Number']}"
    return Task(
        id=f"medcalcbench/{split}/{key}",
        source="medcalcbench",
        split=split,
        question=f"{row['Patient Note'].strip()}\n\n{row['Question'].strip()}",
        template=row["Calculator Name"],
        category=row["Category"],
        permitted=(ActionName.EXECUTE_CODE, ActionName.TERMINAL, ActionName.DEBUG, ActionName.SUBMIT),
        reference=Reference(answer=answer, program=f"{explanation}answer = {value!r}"),
        metadata={"upstream_row": row["Row Number"], "note": row["Note ID"], "calculator": row["Calculator Name"]},
    )


SOURCE = MedCalcBench()
