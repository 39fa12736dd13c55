"""The source: a question, tables of a study, and asserts that are evaluated over the variables the policy leaves.

``test`` is the original, as far as its studies are on the user's disk; ``train_form`` and ``test_form`` are a
look-alike on one study, with templates held out of training.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import ClassVar

from pydantic import JsonValue

from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.returned_values import judge, names_in
from copilot.envs.sandboxes.base import Sandbox, SandboxBackend
from copilot.envs.sources.base import Access, Download, Source
from copilot.envs.sources.biodsbench import forms, original
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError, did_you_mean
from copilot.reward.answers import OutputsAnswer

SIZES = {"train_form": 500, "test_form": 120}
"""Default number of look-alike tasks per split."""
_PATIENCE = 200
_PERMITTED = (
    ActionName.REQUEST_INFO, ActionName.EXECUTE_CODE, ActionName.TERMINAL, ActionName.DEBUG, ActionName.SUBMIT,
)  # fmt: skip
_CONTEXT = "The study's tables are CSV files in /data: {files}."
_LAST = "\n\nLeave the results in variables of these names: {names}. Then set answer = 'done' and submit it."


class BioDSBench(Source):
    """Analyses of cancer studies, judged by asserts over returned values."""

    name: ClassVar[str] = "biodsbench"
    title: ClassVar[str] = "BioDSBench from your copy; look-alike on the study acbc_mskcc_2015 (_form)"
    licence: ClassVar[str] = "tasks MIT; studies ODbL 1.0 (cBioPortal); look-alike questions Apache-2.0"
    splits: ClassVar[tuple[str, ...]] = ("test", "train_form", "test_form")
    stateful: ClassVar[bool] = True
    paper_row: ClassVar[str] = "BioDSBench"
    look_alike: ClassVar[frozenset[str]] = frozenset(SIZES)
    downloads: ClassVar[tuple[Download, ...]] = (
        Download(
            url="https://raw.githubusercontent.com/RyanWangZf/BioDSA/554600ef2eae8be39b2aa5c64ca0cabec88ce1e9/"
            "benchmarks/BioDSBench-Python/dataset/python_tasks_with_class.jsonl",
            path="BioDSBench/python_tasks_with_class.jsonl",
            sha256="238d18a2364e093f30552888455c6a33c44cc025366db20ba772b2ab5d4ba0d5",
            licence="MIT",
        ),
    )
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="the studies of BioDSBench (cBioPortal)",
            apply="https://www.cbioportal.org/datasets: open, ODbL 1.0; nothing to apply for",
            put="BioDSBench/data_files/STUDY_ID, each study's tables",
        ),
    )

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """Upstream's tasks in order, or a seeded stream of the look-alike's."""
        if split not in self.splits:
            raise DataError(f"no split {split!r} in biodsbench", remedy=did_you_mean(split, self.splits))
        if split == "test":
            items, dropped = original.read(original.folder())
            if not items:
                raise DataError(
                    f"no task of BioDSBench can be asked here: {dict(dropped)}",
                    where=original.folder(),
                    remedy="med-copilot tasks fetch biodsbench says where its studies go; or take test_form",
                )
            return islice(map(_original_task, items), limit)
        return islice(_stream(split, seed), SIZES[split] if limit is None else limit)

    def dropped(self, split: str) -> Mapping[str, int]:
        """Upstream's tasks that cannot be asked here."""
        return original.read(original.folder())[1] if split == "test" else {}

    def files(self, task: Task) -> dict[str, Path]:
        """The study's tables."""
        if task.split == "test":
            items = {item.key: item for item in original.read(original.folder())[0]}
            return items[task.metadata["upstream_id"]].tables
        return {name: forms.folder() / name for name in forms.FILES}

    async def evidence(self, task: Task, submitted: JsonValue, sandbox: Sandbox, backend: SandboxBackend) -> JsonValue:
        """What the asserts say of the variables, evaluated in a fresh sandbox."""
        answer = task.reference.answer
        assert isinstance(answer, OutputsAnswer)
        return await judge(tuple(str(check) for check in answer.inputs), sandbox, backend)

    def worked_example(self) -> WorkedExample:
        """A count that no template asks for."""
        code = "import pandas as pd\nn_fusions = len(pd.read_csv('/data/data_sv.csv'))\nanswer = 'done'"
        question = f"{_CONTEXT.format(files='data_sv.csv')}\n\nHow many structural variants are listed?"
        return WorkedExample(
            question=question + _LAST.format(names="n_fusions"),
            steps=((ExecuteCode(code=code), 'answer = "done"'), (Submit(variable="answer"), "")),
        )


def _original_task(item: original.Item) -> Task:
    history = f"\n\nThis code comes first:\n{item.history}" if item.history else ""
    return Task(
        id=f"biodsbench/test/{item.key}",
        source="biodsbench",
        split="test",
        question=item.question + history + _LAST.format(names=", ".join(names_in(item.checks))),
        context=_CONTEXT.format(files=", ".join(sorted(item.tables))),
        template=item.study,
        category=item.category,
        permitted=_PERMITTED,
        reference=_reference(item.checks, f"{item.history}\n{item.solution}"),
        metadata={"upstream_id": item.key, "study": item.study},
    )


def _reference(checks: tuple[str, ...], program: str) -> Reference:
    answer = OutputsAnswer(inputs=checks, outputs=(True,) * len(checks))
    return Reference(answer=answer, program=f"{program}\nanswer = 'done'")


def _stream(split: str, seed: int) -> Iterator[Task]:
    rng, root = random.Random(f"biodsbench/{split}/{seed}"), forms.folder()
    templates = [form for form in forms.FORMS if form.held_out == (split == "test_form")]
    seen: set[str] = set()
    while templates:
        rng.shuffle(templates)
        for form in tuple(templates):
            task = next(filter(None, (_draw(form, split, root, seen, rng) for _ in range(_PATIENCE))), None)
            if task is None:
                templates.remove(form)
            else:
                yield task


def _draw(form: forms.Form, split: str, root: Path, seen: set[str], rng: random.Random) -> Task | None:
    slots = forms.draw(root, rng)
    question = form.question.format(**slots)
    checks = None if question in seen else forms.expected(form, slots, root)
    if checks is None:
        return None
    seen.add(question)
    digest = hashlib.sha256(question.encode()).hexdigest()[:12]
    return Task(
        id=f"biodsbench/{split}/{form.name}-{digest}",
        source="biodsbench",
        split=split,
        question=question + _LAST.format(names=", ".join(names_in(checks))),
        context=_CONTEXT.format(files=", ".join(forms.FILES)),
        template=form.name,
        category=form.name,
        permitted=_PERMITTED,
        reference=_reference(checks, form.code.format(**slots)),
        metadata={"form": form.name},
    )


SOURCE = BioDSBench()
