"""The source: one prediction problem per task, graded on all rows.

``train`` and ``test`` are the original, under Stanford's agreement. ``train_form`` and ``test_form`` are a look-alike
on the eICU demo: hospitals of test problems are in no training problem, neither as rows to learn from in
``train_form`` nor as rows to predict there.
"""

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.data_use import marked
from copilot.envs.predictions import PROGRAM, Problem, bucket
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Access, Source
from copilot.envs.sources.ehrshot import eicu, original
from copilot.envs.sqlite_files import cache_folder
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError, did_you_mean

FOLDS = 6
"""Training problems per outcome, each with other hospitals to predict."""
SHOTS = (0, 400)
"""Rows to learn from; 0: all."""
_TEST_SHARE = 30
"""Share of hospitals, in percent, that are test hospitals."""

_QUESTION = (
    "Predict {outcome} for every row of /data/test.csv. /data/train.csv has the same columns and `label` (1: it "
    "happened). `row` names a row. {hint}Hand in an object from row to probability for all {count} test rows (a table "
    "with the columns row and probability will do); it is scored by the area under the ROC curve over all of them."
)


class EhrShot(Source):
    """Predictions of outcomes from what was known at a point in time."""

    name: ClassVar[str] = "ehrshot"
    title: ClassVar[str] = "EHRSHOT predictions from your copy; look-alike on the eICU demo (_form)"
    licence: ClassVar[str] = "original: Stanford's EHRSHOT agreement; look-alike: ODbL 1.0"
    splits: ClassVar[tuple[str, ...]] = ("train", "test", "train_form", "test_form")
    paper_row: ClassVar[str] = "EHRSHOT"
    look_alike: ClassVar[frozenset[str]] = frozenset({"train_form", "test_form"})
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="EHRSHOT 2.0",
            apply="https://redivis.com/datasets/53gc-8rhx41kgt: Stanford's data use agreement",
            put="EHRSHOT_ASSETS with benchmark/*/labeled_patients.csv, data/ehrshot.csv and splits/person_id_map.csv",
        ),
    )

    @property
    def credentialed(self) -> bool:
        """Whether the original is here: then any task may show its rows."""
        try:
            return original.folder() is not None
        except DataError:  # no data folder at all: nothing to protect
            return False

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """The problems of a split in a fixed order; ``seed`` changes nothing."""
        if split not in self.splits:
            raise DataError(f"no split {split!r} in ehrshot", remedy=did_you_mean(split, self.splits))
        return islice(_tasks(split), limit)

    def files(self, task: Task) -> dict[str, Path]:
        """``train.csv`` with labels and ``test.csv`` without."""
        folder = _folder(task.metadata["problem"])
        files = {name: folder / name for name in ("train.csv", "test.csv")}
        if not all(path.exists() for path in files.values()):
            key = task.metadata["problem"]
            next(problem for name, problem in _problems(task.split) if name == key).write(folder)
        return files

    def worked_example(self) -> WorkedExample:
        """A shape only, on two made-up rows."""
        code = "import pandas as pd\nanswer = {'17': 0.2, '23': 0.9}"
        shown = feedback.of_cell(CellResult(status="ok"), answer=({"17": 0.2, "23": 0.9},)).text
        return WorkedExample(
            question="Predict transfusion for the rows 17 and 23: hand in an object from row to probability.",
            steps=((ExecuteCode(code=code), shown), (Submit(variable="answer"), "")),
        )


def _folder(key: str) -> Path:
    root = original.folder() or eicu.folder()
    digest = hashlib.sha256(f"{root}|{key}".encode()).hexdigest()[:16]
    return cache_folder() / "data" / "ehrshot" / digest


def _problems(split: str) -> Iterator[tuple[str, Problem]]:
    if split.endswith("_form"):
        yield from _forms(split)
        return
    root = original.folder()
    if root is None:
        raise DataError(
            "EHRSHOT itself is not here", remedy="med-copilot tasks fetch ehrshot says how to get it; or take test_form"
        )
    for name, problem in original.problems(root, split):
        yield f"{split}/{name}", problem


def _forms(split: str) -> Iterator[tuple[str, Problem]]:
    """The look-alike's problems: every outcome with all hospitals of the split, and with few rows to learn from."""
    root = eicu.folder()
    table = eicu.features(root)
    held_out = table["hospital"].map(lambda hospital: bucket(hospital, "ehrshot", 100) < _TEST_SHARE)
    fold = table["hospital"].map(lambda hospital: bucket(hospital, "ehrshot fold", FOLDS))
    order = table["row"].map(lambda row: bucket(row, "ehrshot order", 1 << 30))
    for name in eicu.OUTCOMES:
        labels = eicu.outcome(root, name).reindex(table["row"]).to_numpy()
        rows = table.drop(columns="hospital").assign(label=labels)
        for number in range(FOLDS) if split == "train_form" else (-1,):
            asked = held_out if number < 0 else ~held_out & (fold == number)
            known = ~held_out if number < 0 else ~held_out & (fold != number)
            test, train = (rows[part].dropna(subset="label").astype({"label": int}) for part in (asked, known))
            for shots in SHOTS:
                few = train.loc[order[train.index].sort_values().index[:shots]] if shots else train
                yield f"{split}/{name}-{max(number, 0)}-{shots or 'all'}", Problem(train=few, test=test)


def _tasks(split: str) -> Iterator[Task]:
    for key, problem in _problems(split):
        answer = problem.answer()
        if answer is None:
            continue
        problem.write(_folder(key))
        name = key.split("/")[1].split("-")[0]
        form = split.endswith("_form")
        hint = "No hospital of the test rows is among the training rows. " if form else ""
        question = _QUESTION.format(outcome=eicu.OUTCOMES.get(name, name), hint=hint, count=len(problem.test))
        yield Task(
            id=f"ehrshot/{split}/{marked(key.split('/')[1], credentialed=not form)}",
            source="ehrshot",
            split=split,
            question=question,
            template=name,
            category=name,
            permitted=(ActionName.EXECUTE_CODE, ActionName.TERMINAL, ActionName.DEBUG, ActionName.SUBMIT),
            reference=Reference(answer=answer, program=PROGRAM),
            metadata={"problem": key, "rows": len(problem.train)},
        )


SOURCE = EhrShot()
