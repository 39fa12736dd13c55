"""``tasks check``: sound references pass in the real sandbox, unsound ones are named and change the exit code."""

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner

from copilot.commands import tasks as command
from copilot.envs.check import CheckReport, check_tasks
from copilot.envs.sandboxes.base import SandboxConfig, make_backend
from copilot.envs.sources.base import Source
from copilot.envs.sources.ehrsql2024 import SOURCE as EHRSQL2024
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.reward.answers import Answer, IntegerAnswer, RowsAnswer, UnanswerableAnswer

CHECK = importlib.import_module("copilot.commands.tasks.check")


class Sums(Source):
    """Six tasks: two sound, one unanswerable, one wrong, one that crashes, one that an empty list solves."""

    name: ClassVar[str] = "sums"
    title: ClassVar[str] = "sums"
    licence: ClassVar[str] = "none"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        made: list[tuple[str, Answer, str]] = [
            ("right", IntegerAnswer(value=3), "answer = base + 2"),
            ("none", UnanswerableAnswer(), ""),
            ("also", RowsAnswer(rows=(("a",), ("b",))), "answer = ['b', 'a']"),
            ("wrong", IntegerAnswer(value=3), "answer = 4"),
            ("fails", IntegerAnswer(value=3), "unknown"),
            ("empty", RowsAnswer(rows=()), "answer = []"),
        ]
        for key, answer, program in made[: 3 if split == "train" else 6][:limit]:
            reference = Reference(answer=answer, program=program)
            yield Task(id=f"sums/{split}/{key}", source="sums", split=split, question="?", reference=reference)

    def files(self, task: Task) -> dict[str, Path]:
        return {}

    def preamble(self, task: Task) -> str:
        return "base = 1"

    def worked_example(self) -> WorkedExample:
        return WorkedExample(question="?", steps=())


def check(source: Source, split: str) -> tuple[CheckReport, int]:
    seen: list[int] = []

    async def run() -> CheckReport:
        backend = make_backend(SandboxConfig(require="none"))
        await backend.start()
        try:
            return await check_tasks(source, source.tasks(split), backend, on_task=lambda: seen.append(1))
        finally:
            await backend.close()

    return asyncio.run(run()), len(seen)


def test_every_kind_of_unsound_task_is_found() -> None:
    report, seen = check(Sums(), "test")
    assert seen == report.tasks == 6
    assert (report.answerable, report.reproduced, report.unanswerable, report.noop_passed) == (5, 3, 1, 1)
    reasons = {failure.task_id.rsplit("/", 1)[1]: failure.reason for failure in report.failures}
    assert set(reasons) == {"wrong", "fails", "empty"}
    assert "4" in reasons["wrong"]
    assert "NameError" in reasons["fails"]
    assert reasons["empty"] == "solved by submitting []"


def test_the_command_says_so_with_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CHECK, "get_source", {"sums": Sums()}.__getitem__)
    monkeypatch.setattr(CHECK, "source_names", lambda: ["sums"])
    sound = CliRunner().invoke(command.COMMAND, ["check", "sums", "--split", "train"])
    assert sound.exit_code == 0, sound.output
    assert "2/2" in sound.output
    unsound = CliRunner().invoke(command.COMMAND, ["check", "--all"])
    assert unsound.exit_code == 1
    assert "3/5" in unsound.output
    assert "sums/test/wrong: 4 is not 3" in unsound.output
    assert CliRunner().invoke(command.COMMAND, ["check"]).exit_code == 2


def test_ehr_sql_proves_itself_in_the_sandbox() -> None:
    result = CliRunner().invoke(command.COMMAND, ["check", "ehr_sql", "--split", "test_unseen", "--limit", "24"])
    assert result.exit_code == 0, result.output
    assert "20/20" in result.output


def test_sources_and_tasks_are_shown() -> None:
    listed = CliRunner().invoke(command.COMMAND, ["list"])
    assert listed.exit_code == 0
    assert "ehr_sql" in listed.output
    shown = CliRunner().invoke(command.COMMAND, ["show", "ehr_sql", "--split", "valid", "--limit", "1", "--context"])
    assert shown.exit_code == 0, shown.output
    assert "patients(subject_id, gender, dob, dod)" in shown.output
    assert 'answer = sql("SELECT gender FROM patients WHERE subject_id=' in shown.output


def test_all_names_the_sources_whose_data_is_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    monkeypatch.setattr(CHECK, "get_source", {"ehrsql2024": EHRSQL2024, "sums": Sums()}.__getitem__)
    monkeypatch.setattr(CHECK, "source_names", lambda: ["ehrsql2024", "sums"])
    result = CliRunner().invoke(command.COMMAND, ["check", "--all", "--split", "train"])
    assert result.exit_code == 0, result.output
    assert "skipped ehrsql2024: no folder with ehrsql2024's data" in result.output
    assert "2/2" in result.output
