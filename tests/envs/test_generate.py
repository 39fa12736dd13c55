"""Generating: stream, each question once, references verified, the same file again, and going on after a cut."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from copilot.envs.generate import BATCH, Made, generate, resume
from copilot.envs.sandboxes.base import SandboxConfig, make_backend
from copilot.envs.sources.base import Source
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.reward.answers import IntegerAnswer

ASKED = 3 * BATCH


class Sums(Source):
    """Every fifth question is asked twice, every seventh reference is wrong."""

    name: ClassVar[str] = "sums"
    title: ClassVar[str] = "sums"
    licence: ClassVar[str] = "none"

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        for number in range(limit or 0):
            of = number - 1 if number % 5 == 4 else number
            program = f"answer = {of} + {of}" if number % 7 else "answer = -1"
            yield Task(
                id=f"sums/{split}/{number}",
                source="sums",
                split=split,
                question=f"What is {of} plus {of}?",
                reference=Reference(answer=IntegerAnswer(value=2 * of), program=program),
            )

    def files(self, task: Task) -> dict[str, Path]:
        return {}

    def worked_example(self) -> WorkedExample:
        raise NotImplementedError


def made(path: Path, count: int, workers: int = 2) -> Made:
    async def run() -> Made:
        backend = make_backend(SandboxConfig(require="none"))
        await backend.start()
        try:
            return await generate(Sums(), "train", path, backend, count=count, workers=workers)
        finally:
            await backend.close()

    return asyncio.run(run())


def test_each_question_once_verified_in_order_and_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    report = made(tmp_path / "two.jsonl", ASKED)
    lines = [json.loads(line) for line in (tmp_path / "two.jsonl").read_text().splitlines()]
    numbers = [int(line["id"].rpartition("/")[2]) for line in lines]
    assert len(numbers) == report.written == ASKED
    assert numbers == sorted(numbers)
    assert len({line["question"] for line in lines}) == ASKED
    assert not [number for number in numbers if number % 7 == 0 or number % 5 == 4]
    assert report.repeated >= numbers[-1] // 5
    assert report.failed
    assert report.reasons
    made(tmp_path / "one.jsonl", ASKED, workers=1)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_a_file_that_was_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    made(tmp_path / "whole.jsonl", ASKED)
    whole = (tmp_path / "whole.jsonl").read_bytes()
    (tmp_path / "cut.jsonl").write_bytes(whole[: len(whole) // 2])
    report = made(tmp_path / "cut.jsonl", ASKED)
    assert report.resumed == whole[: len(whole) // 2].count(b"\n")
    assert report.written == ASKED
    assert (tmp_path / "cut.jsonl").read_bytes() == whole
    assert made(tmp_path / "cut.jsonl", ASKED).resumed == ASKED


@pytest.mark.parametrize("text", ["", '{"id": "a"'])
def test_nothing_whole_in_a_file_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    assert resume(tmp_path / "x.jsonl") == {}
    assert (tmp_path / "x.jsonl").read_text() == ""
