"""The source: a function to write, judged by hidden inputs in a fresh sandbox.

``train`` and ``test`` are the original, from the user's copy. ``train_form`` and ``test_form`` are look-alikes:
functions of the installed Biopython and scikit-bio with their bodies taken out, and small problems with own
statements. A function is in one of the two by hash of its name.
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import ClassVar

from pydantic import JsonValue

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.hidden_inputs import run_hidden
from copilot.envs.predictions import bucket
from copilot.envs.sandboxes.base import CellResult, Sandbox, SandboxBackend
from copilot.envs.sources.base import Access, Source
from copilot.envs.sources.biocoder import functions, original, rosalind
from copilot.envs.sqlite_files import cache_folder
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError, did_you_mean
from copilot.reward.answers import OutputsAnswer

_TEST_SHARE = 40
"""Share of functions, in percent, that are in ``test_form``."""
_PERMITTED = (ActionName.EXECUTE_CODE, ActionName.TERMINAL, ActionName.DEBUG, ActionName.SUBMIT)
_HAND_IN = "Hand in the whole function as text: set `answer` to a string with its source code, and submit `answer`."
_FUNCTION = (
    "The module /data/{name}_slice.py is a slice of {version}: the function {signature} with all it uses, but "
    "without its "
    "body. Write the function. It may use everything of the module; it is tested there on other inputs.\n\n{doc}\n\n"
)
_PROBLEM = "Write a function solve(text) in Python. {statement} The result is a text.\n\n"
_ORIGINAL = "{problem}\n\nSignature: {signature}\n\nThe function is put into this program:\n\n{context}\n\n"


class BioCoder(Source):
    """Bioinformatics functions by hidden inputs."""

    name: ClassVar[str] = "biocoder"
    title: ClassVar[str] = "BioCoder from your copy; look-alike from Biopython, scikit-bio and own problems (_form)"
    licence: ClassVar[str] = (
        "original: none stated; look-alike: Biopython Licence, BSD-3-Clause (scikit-bio), own statements Apache-2.0"
    )
    splits: ClassVar[tuple[str, ...]] = ("train", "test", "train_form", "test_form")
    paper_row: ClassVar[str] = "BioCoder"
    look_alike: ClassVar[frozenset[str]] = frozenset({"train_form", "test_form"})
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="BioCoder, in MedAgentGym's form",
            apply="https://github.com/wshi83/MedAgentGym, folder data/biocoder: open, no licence stated",
            put="biocoder/train_tasks.jsonl and biocoder/test_tasks.jsonl",
        ),
    )

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """The functions of a split in a fixed order; ``seed`` changes nothing."""
        if split not in self.splits:
            raise DataError(f"no split {split!r} in biocoder", remedy=did_you_mean(split, self.splits))
        if split in self.look_alike:
            return islice(_look_alikes(split), limit)
        return islice((_original(split, item) for item in original.read(split)[0]), limit)

    def dropped(self, split: str) -> Mapping[str, int]:
        """Lines of upstream's file that are no function to write."""
        return {} if split in self.look_alike else original.read(split)[1]

    def files(self, task: Task) -> dict[str, Path]:
        """The slice without the function's body."""
        if "function" not in task.metadata:
            return {}
        hole = _holes()[task.metadata["function"]]
        return {f"{hole.name}_slice.py": _slice_file(hole)}

    async def evidence(self, task: Task, submitted: JsonValue, sandbox: Sandbox, backend: SandboxBackend) -> JsonValue:
        """What the submitted function returns for the hidden inputs."""
        answer = task.reference.answer
        assert isinstance(answer, OutputsAnswer)
        if "upstream_id" in task.metadata:
            item = next(i for i in original.read(task.split)[0] if i.key == task.metadata["upstream_id"])
            return await original.outputs(item, submitted, backend)
        if "function" in task.metadata:
            hole = _holes()[task.metadata["function"]]
            text = f"{hole.slice}\n{submitted}" if isinstance(submitted, str) and submitted.strip() else None
            return await run_hidden(text, hole.name, answer.inputs, backend)
        found = await run_hidden(submitted, "solve", answer.inputs, backend)
        return [_as_tokens(output) for output in found] if isinstance(found, list) else found

    def worked_example(self) -> WorkedExample:
        """A function that no split asks for."""
        code = "answer = '''\ndef purines(strand):\n    return sum(base in \"AG\" for base in strand)\n'''"
        shown = feedback.of_cell(CellResult(status="ok"), answer=("\ndef purines(strand): ...",)).text
        return WorkedExample(
            question=f"Write a function purines(strand) that counts the purines of a DNA strand.\n\n{_HAND_IN}",
            steps=((ExecuteCode(code=code), shown), (Submit(variable="answer"), "")),
        )


def _as_tokens(output: JsonValue) -> JsonValue:
    if isinstance(output, dict) and "value" in output:
        return {"value": rosalind.tokens(output["value"])}
    return output


@lru_cache(maxsize=1)
def _holes() -> dict[str, functions.Hole]:
    return {f"{hole.module}.{hole.name}": hole for hole in functions.holes()[0]}


def _slice_file(hole: functions.Hole) -> Path:
    digest = hashlib.sha256(hole.slice.encode()).hexdigest()[:16]
    path = cache_folder() / "data" / "biocoder" / f"{hole.name}-{digest}.py"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(hole.slice)
    return path


def _look_alikes(split: str) -> Iterator[Task]:
    def ours(key: str) -> bool:
        return (bucket(key, "biocoder", 100) < _TEST_SHARE) == (split == "test_form")

    for key, hole in _holes().items():
        if ours(key):
            question = _FUNCTION.format(name=hole.name, version=hole.version, signature=hole.signature, doc=hole.doc)
            answer = OutputsAnswer(inputs=tuple(hole.inputs), outputs=tuple(hole.outputs))
            yield _task(split, key, question, answer, hole.solution, hole.module, {"function": key})
    for problem in rosalind.PROBLEMS:
        if ours(problem.key):
            inputs, outputs = rosalind.cases(problem)
            answer = OutputsAnswer(inputs=tuple(inputs), outputs=tuple(outputs), rel_tol=1e-3)
            question = _PROBLEM.format(statement=problem.statement)
            yield _task(split, problem.key, question, answer, problem.solution, "rosalind", {"problem": problem.key})


def _original(split: str, item: original.Item) -> Task:
    answer = OutputsAnswer(inputs=("the program",), outputs=(True,))
    question = _ORIGINAL.format(problem=item.problem, signature=item.signature, context=item.context)
    return _task(split, item.key, question, answer, item.solution, "biocoder", {"upstream_id": item.key})


def _task(
    split: str, key: str, question: str, answer: OutputsAnswer, solution: str, category: str, metadata: dict[str, str]
) -> Task:
    return Task(
        id=f"biocoder/{split}/{key}",
        source="biocoder",
        split=split,
        question=question + _HAND_IN,
        template=key,
        category=category,
        permitted=_PERMITTED,
        reference=Reference(answer=answer, program=f"answer = {solution!r}"),
        metadata=metadata,
    )


SOURCE = BioCoder()
