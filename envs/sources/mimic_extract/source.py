"""The source: questions about the pipeline's steps, and predictions from what it makes.

``train`` and ``test`` run on the user's own MIMIC-III, ``train_form`` and ``test_form`` on its open demo (136 stays: it
checks that a pipeline is right, and is too small to rank prediction models). Patients belong to one split by hash.
"""

import hashlib
import random
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import ClassVar

import pandas as pd

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.data_use import marked
from copilot.envs.predictions import PROGRAM, Problem, bucket
from copilot.envs.sandboxes.base import CellResult
from copilot.envs.sources.base import Access, Download, Source
from copilot.envs.sources.mimic_extract import pipeline
from copilot.envs.sources.mimic_extract.questions import QUESTIONS, Question, Slots, draw
from copilot.envs.sqlite_files import cache_folder
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError, did_you_mean
from copilot.reward.answers import IntegerAnswer, RealAnswer

SIZES = {"train": 2000, "test": 300, "train_form": 1000, "test_form": 200}
"""Default number of questions per split, predictions not counted."""
FOLDS = 3
"""Training problems per outcome."""
OUTCOMES = {
    "mort_hosp": "death in hospital",
    "los_3": "a stay in intensive care of more than 3 days",
    "los_7": "a stay in intensive care of more than 7 days",
}
"""What is predicted, as in MIMIC-Extract's benchmark."""
_DEMO = "https://physionet.org/files/mimiciii-demo/1.4"
_TEST_SHARE = 35
_BLOCK = 200
"""Draws among which a value is an answer once at most, so that no number (a saturation of 100) is a good guess."""
_PATIENCE = 300
_PERMITTED = (
    ActionName.REQUEST_INFO, ActionName.EXECUTE_CODE, ActionName.TERMINAL, ActionName.DEBUG, ActionName.SUBMIT,
)  # fmt: skip
_CONTEXT = (
    "/data/stays.csv: stay, subject_id, hadm_id, intime, outtime, hours (length), age, gender, first_careunit, "
    "admission_type, died (in hospital). /data/events.csv: measurements of the first 24 hours with stay, itemid, "
    "charttime, value. /data/items.csv: itemid, variable, low, high (range outside which a value is an error). Hours "
    "count from intime."
)
_PREDICT = (
    "Predict {outcome} for every row of /data/test.csv from the first day in intensive care. /data/train.csv has the "
    "same "
    "columns and `label` (1: it happened); `row` names a stay. Hand in an object from row to probability for all "
    "{count} "
    "test rows; it is scored by the area under the ROC curve over all of them."
)


class MimicExtract(Source):
    """Hourly tables and predictions from MIMIC-III."""

    name: ClassVar[str] = "mimic_extract"
    title: ClassVar[str] = "MIMIC-Extract pipeline on your MIMIC-III; look-alike on the open demo (_form)"
    licence: ClassVar[str] = "MIMIC-III: PhysioNet credentialed; demo: ODbL 1.0"
    splits: ClassVar[tuple[str, ...]] = tuple(SIZES)
    paper_row: ClassVar[str] = "MIMIC-Extract"
    look_alike: ClassVar[frozenset[str]] = frozenset({"train_form", "test_form"})
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(
            url=f"{_DEMO}/{table}.csv",
            path=f"{pipeline.DEMO[1]}/{table}.csv",
            sums=f"{_DEMO}/SHA256SUMS.txt",
            licence="ODbL 1.0",
        )
        for table in pipeline.TABLES
    )
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="MIMIC-III Clinical Database 1.4",
            apply="https://physionet.org/content/mimiciii/1.4/: credentialed, PhysioNet data use agreement 1.5.0",
            put=f"{pipeline.FULL[0]} with {', '.join(pipeline.TABLES)} as .csv.gz",
        ),
    )

    @property
    def credentialed(self) -> bool:
        """Whether the whole of MIMIC-III is here: then any task may show its rows."""
        try:
            return pipeline.folder(full=True).is_dir()
        except DataError:  # not here: nothing to protect
            return False

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Prediction problems first, then a seeded stream of questions; no instance twice."""
        if split not in self.splits:
            raise DataError(f"no split {split!r} in mimic_extract", remedy=did_you_mean(split, self.splits))
        root = _root(split)
        predictions = list(_predictions(root, split))
        stream = islice(_questions(root, split, seed), SIZES[split])
        return islice((task for part in (predictions, stream) for task in part), limit)

    def files(self, task: Task) -> dict[str, Path]:
        """The pipeline's tables, or the two tables of a prediction problem."""
        if "problem" in task.metadata:
            folder = _folder(_root(task.split), task.metadata["problem"])
            return {name: folder / name for name in ("train.csv", "test.csv")}
        return pipeline.files(_root(task.split))

    def worked_example(self) -> WorkedExample:
        """A count that no split asks for."""
        code = "import pandas as pd\nanswer = pd.read_csv('/data/items.csv')['variable'].nunique()"
        shown = feedback.of_cell(CellResult(status="ok"), answer=(len(pipeline.VARIABLES),)).text
        return WorkedExample(
            question=f"{_CONTEXT}\n\nHow many variables does items.csv name?",
            steps=((ExecuteCode(code=code), shown), (Submit(variable="answer"), "")),
        )


def _root(split: str) -> Path:
    return pipeline.folder(full=not split.endswith("_form"))


def _id(split: str, key: str) -> str:
    return f"mimic_extract/{split}/{marked(key, credentialed=not split.endswith('_form'))}"


def _is_test(subject: int) -> bool:
    return bucket(subject, "mimic_extract", 100) < _TEST_SHARE


def _folder(root: Path, key: str) -> Path:
    digest = hashlib.sha256(f"{root}|{key}".encode()).hexdigest()[:16]
    return cache_folder() / "data" / "mimic_extract_predictions" / digest


@lru_cache(maxsize=4)
def _predictions(root: Path, split: str) -> tuple[Task, ...]:
    table = pipeline.table(root)
    test = table["subject_id"].map(_is_test)
    fold = table["subject_id"].map(lambda subject: bucket(subject, "mimic_extract fold", FOLDS))
    truth = {"mort_hosp": table["died"] == 1, "los_3": table["hours"] > 72, "los_7": table["hours"] > 168}
    rows = table.drop(columns=["subject_id", "hours", "died"])
    tasks = []
    for name, words in OUTCOMES.items():
        labelled = rows.assign(label=truth[name].astype(int))
        for number in range(FOLDS) if split.startswith("train") else (-1,):
            asked = test if number < 0 else ~test & (fold == number)
            known = ~test & ((fold != number) | (number < 0))
            problem = Problem(train=labelled[known], test=labelled[asked])
            answer, key = problem.answer(), f"{split}/{name}-{max(number, 0)}"
            if answer is None:
                continue
            problem.write(_folder(root, key))
            tasks.append(
                Task(
                    id=_id(split, f"{name}-{max(number, 0)}"),
                    source="mimic_extract",
                    split=split,
                    question=_PREDICT.format(outcome=words, count=len(problem.test)),
                    template=f"predict/{name}",
                    category="prediction",
                    permitted=_PERMITTED,
                    reference=Reference(answer=answer, program=PROGRAM),
                    metadata={"problem": key},
                )
            )
    return tuple(tasks)


def _questions(root: Path, split: str, seed: int) -> Iterator[Task]:
    rng = random.Random(f"mimic_extract/{split}/{seed}")
    stays, values = pipeline.stays_of(root), pipeline.measurements(root)
    grouped = values.groupby(["stay", "variable"])
    parts = {(int(str(stay)), str(name)): rows for (stay, name), rows in grouped}
    training = split.startswith("train")
    own = [
        int(s) for s, subject in zip(stays["stay"], stays["subject_id"], strict=True) if _is_test(subject) != training
    ]
    questions = [q for q in QUESTIONS if not (q.held_out and training)]
    seen: set[str] = set()
    while questions:
        rng.shuffle(questions)
        for question in tuple(questions):
            drawn = (_draw(question, split, own, parts, stays, seen, rng) for _ in range(_PATIENCE))
            task = next(filter(None, drawn), None)
            if task is None:
                questions.remove(question)
            else:
                yield task


def _draw(
    question: Question,
    split: str,
    own: list[int],
    parts: dict[tuple[int, str], pd.DataFrame],
    stays: pd.DataFrame,
    seen: set[str],
    rng: random.Random,
) -> Task | None:
    """A question of the split that is not in ``seen`` yet, or ``None`` when the draw is none."""
    slots = draw(question, own, rng)
    ask = rng.randrange(len(question.asks))
    used = {name: value for name, value in slots.items() if f"{{{name}}}" in question.asks[ask]}
    key = f"{question.name}:{sorted(used.items())}"
    measured = parts.get((int(slots["stay"]), str(slots["variable"])))
    if key in seen or ("stay" in used and measured is None) or not _fits("stay" in used, key, split):
        return None
    value = question.truth(pd.DataFrame() if measured is None else measured, stays, slots)
    if value is None or abs(value) < 0.005:
        return None
    common = f"{value:.4g} in block {len(seen) // _BLOCK}"
    if common in seen and not question.whole:
        return None
    seen |= {key, common}
    return _task(question, split, slots, ask, value, key)


def _fits(about_stay: bool, key: str, split: str) -> bool:
    """Questions about all stays are dealt out by hash; those about one stay belong to its patient's split."""
    return about_stay or (bucket(key, "mimic_extract question", 100) < _TEST_SHARE) != split.startswith("train")


def _task(question: Question, split: str, slots: Slots, ask: int, value: float, key: str) -> Task:
    answer = IntegerAnswer(value=round(value)) if question.whole else RealAnswer(value=value, rel_tol=1e-3)
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return Task(
        id=_id(split, f"{question.name}-{digest}"),
        source="mimic_extract",
        split=split,
        question=question.asks[ask].format(**slots),
        context=_CONTEXT,
        template=f"{question.name}/{ask}",
        category=question.name,
        permitted=_PERMITTED,
        reference=Reference(answer=answer, program=question.program.format(**slots)),
        metadata={"question": question.name, "slots": dict(slots)},
    )


SOURCE = MimicExtract()
