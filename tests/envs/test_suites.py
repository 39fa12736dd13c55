"""Suites: what is written is read back, what is malformed is named and skipped, cuts are balanced and repeatable."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.commands.tasks import COMMAND
from copilot.envs import suites
from copilot.envs.sources.base import Source
from copilot.envs.suites import BadLine, Cut, build_suite, find_suite, read_suite, suite_hash, write_suite
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError
from copilot.reward.answers import IntegerAnswer, RowsAnswer


def make_task(number: int, template: str = "t", **changes: object) -> Task:
    reference = Reference(answer=IntegerAnswer(value=number), program=f"answer = {number}")
    task = Task(
        id=f"counting/train/{template}-{number}",
        source="counting",
        split="train",
        question=f"What is {number}?",
        template=template,
        reference=reference,
    )
    return task.evolve(**changes)


class Counting(Source):
    """Templates of unequal size, so that balance is something a cut has to do."""

    name: ClassVar[str] = "counting"
    title: ClassVar[str] = "counting"
    licence: ClassVar[str] = "none"

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        sizes = {"many": 30, "some": 4, "one": 1}
        made = [make_task(n, name, split=split) for name, size in sizes.items() for n in range(size)]
        yield from made[:limit]

    def files(self, task: Task) -> dict[str, Path]:
        return {}

    def worked_example(self) -> WorkedExample:
        return WorkedExample(question="?", steps=())


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Counting()
    monkeypatch.setattr(suites, "get_source", {"counting": source}.__getitem__)
    return source


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=20), st.text(st.characters(codec="utf-8"), max_size=40)), max_size=6),
    st.lists(st.tuples(st.one_of(st.none(), st.integers(), st.text(max_size=5))), max_size=3),
)
def test_what_is_written_is_read_back(texts: list[tuple[str, str]], rows: list[tuple[object, ...]]) -> None:
    answer = RowsAnswer(rows=tuple(rows))  # type: ignore[arg-type]
    tasks = [
        make_task(n, question=question, context=context, reference=Reference(answer=answer))
        for n, (question, context) in enumerate([("plain", ""), *texts])
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "x.jsonl"
        assert write_suite(path, tasks) == len(tasks)
        assert read_suite(path) == tasks
        assert [p.name for p in path.parent.iterdir()] == ["x.jsonl"]
        assert path.read_bytes().count(b"\n") == len(tasks)


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    write_suite(tmp_path / "a.jsonl", [make_task(1), make_task(2)])
    write_suite(tmp_path / "b.jsonl", [make_task(1), make_task(2)])
    write_suite(tmp_path / "c.jsonl", [make_task(2), make_task(1)])
    assert suite_hash(tmp_path / "a.jsonl") == hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()
    assert suite_hash(tmp_path / "a.jsonl") == suite_hash(tmp_path / "b.jsonl") != suite_hash(tmp_path / "c.jsonl")


def test_malformed_lines_are_named_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.jsonl"
    good = [make_task(n).model_dump_json().encode() for n in range(3)]
    lines = [
        good[0],
        b"",
        good[1][:-30],
        b"\xff\xfe{}",
        b'{"id": "x"}',
        good[0],
        good[1].replace(b'"integer"', b'"pickle"'),
        good[2],
    ]
    path.write_bytes(b"\n".join(lines))
    bad: list[BadLine] = []
    assert read_suite(path, bad_lines=bad) == [make_task(0), make_task(2)]
    assert [b.line for b in bad] == [3, 4, 5, 6, 7]
    assert "second time" in bad[3].fault
    assert "source: Field required" in bad[2].fault
    assert f"{path}, line 3 skipped" in caplog.text
    assert "5 of 7 lines skipped" in caplog.text


def test_a_file_without_a_task_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("\n[1]\n")
    with pytest.raises(DataError, match=r"line 2: .*object"):
        read_suite(tmp_path / "x.jsonl")
    with pytest.raises(DataError, match="no such suite file"):
        read_suite(tmp_path / "y.jsonl")


def test_suites_are_found_by_path_or_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "SHIPPED", tmp_path)
    write_suite(tmp_path / "starter.jsonl", [make_task(1)])
    assert find_suite("starter") == find_suite(tmp_path / "starter.jsonl") == tmp_path / "starter.jsonl"
    with pytest.raises(DataError, match=r"(?s)no suite .startr.*did you mean .starter"):
        find_suite("startr")


def test_cuts_take_turns_over_templates(counting: Source) -> None:
    tasks = build_suite(
        [Cut(source="counting", split="train", count=9), Cut(source="counting", split="valid", count=2)]
    )
    assert Counter((t.split, t.template) for t in tasks) == {
        ("train", "many"): 4,
        ("train", "some"): 4,
        ("train", "one"): 1,
        ("valid", "many"): 1,
        ("valid", "some"): 1,
    }
    assert tasks == build_suite(
        [Cut(source="counting", split="train", count=9), Cut(source="counting", split="valid", count=2)]
    )


def test_a_cut_that_is_too_large_is_an_error(counting: Source) -> None:
    assert len(build_suite([Cut(source="counting", split="train", count=35)])) == 35
    with pytest.raises(DataError, match="35 train tasks, 36 are wanted"):
        build_suite([Cut(source="counting", split="train", count=36)])
    with pytest.raises(DataError, match="30 train tasks, 31"):
        build_suite([Cut(source="counting", split="train", count=31, pool=30)])


def test_the_command_cuts_the_same_file_twice(tmp_path: Path) -> None:
    takes = ["--take", "ehr_sql:valid:50", "--take", "ehr_sql:test_unseen:13"]
    outputs = [CliRunner().invoke(COMMAND, ["suite", str(tmp_path / name), *takes]) for name in ("a.jsonl", "b.jsonl")]
    assert [o.exit_code for o in outputs] == [0, 0], outputs
    assert outputs[0].output == outputs[1].output == f"63 tasks, sha256 {suite_hash(tmp_path / 'a.jsonl')}\n"
    tasks = read_suite(tmp_path / "b.jsonl")
    assert Counter(t.split for t in tasks) == {"valid": 50, "test_unseen": 13}
    assert max(Counter(t.template for t in tasks).values()) <= 2


@pytest.mark.parametrize("take", ["ehr_sql", "ehr_sql:train", "ehr_sql:train:x", "ehr_sql:train:3:gender:5"])
def test_a_share_that_cannot_be_read_is_a_usage_error(tmp_path: Path, take: str) -> None:
    result = CliRunner().invoke(COMMAND, ["suite", str(tmp_path / "x.jsonl"), "--take", take])
    assert result.exit_code == 2
    assert "SOURCE:SPLIT:COUNT" in result.output
