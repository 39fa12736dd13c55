"""Each filter drops what it says, with a reason."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from copilot.data.filters import AnyFilter, Filter, filter_types
from copilot.data.trajectory import Outcome


def judge(filter: dict[str, Any], *trajectories: Any) -> list[str]:
    made: Filter = TypeAdapter(AnyFilter).validate_python(filter)
    return made.judge(trajectories)


def test_every_file_of_the_folder_is_in_the_union() -> None:
    assert set(filter_types()) == {"duplicates", "error_loops", "length", "origin", "part", "success"}
    for name in filter_types():
        assert judge({"type": name}) == []


@pytest.mark.parametrize(
    ("rule", "reasons"),
    [
        ("submitted", ["", "not submitted correct", "not submitted correct"]),
        ("any_attempt", ["", "", "not any_attempt correct"]),
    ],
)
def test_success(make: Any, rule: str, reasons: list[str]) -> None:
    seen = make.trajectory(outcome=Outcome(submitted=True, any_attempt_correct=True))
    assert judge({"type": "success", "rule": rule}, make.trajectory(), seen, make.trajectory(correct=False)) == reasons


def test_masked_samples_are_never_a_success(make: Any) -> None:
    assert judge({"type": "success"}, make.trajectory(failed=True)) == ["not submitted correct"]


def test_length_counts_the_longest_row_and_turns(make: Any) -> None:
    nine = make.trajectory()
    assert judge({"type": "length", "max_tokens": 9}, nine) == [""]
    assert judge({"type": "length", "max_tokens": 8}, nine) == ["too many tokens"]
    assert judge({"type": "length", "max_turns": 1}, nine) == ["too many turns"]
    assert judge({"type": "length", "max_tokens": 1}, make.trajectory(rows=())) == [""]


def test_duplicates_within_task_and_template(make: Any) -> None:
    def solved(task: str, code: str, template: str = "t0") -> Any:
        return make.trajectory(task, steps=[make.code((1,), code), make.submit((2,))], template=template)

    found = [
        solved("a", "answer = 1"),
        solved("a", "answer  =\n 1"),
        solved("b", "answer = 1"),
        solved("b", "answer = 2"),
        solved("c", "answer = 1", template="t1"),
        solved("d", "answer = 3", template=""),
        solved("e", "answer = 3", template=""),
    ]
    assert judge({"type": "duplicates", "near": True}, *found) == [
        "",
        "exact duplicate",
        "near duplicate",
        "",
        "",
        "",
        "",
    ]
    assert judge({"type": "duplicates"}, *found) == ["", "exact duplicate", "", "", "", "", ""]


def test_error_loops_are_equal_failing_actions_in_a_row(make: Any) -> None:
    bad = make.code((1,), "boom", status="error")
    loop = make.trajectory(steps=[bad, bad, make.submit((2,))])
    spread = make.trajectory(steps=[bad, make.code((3,)), bad])
    fine = make.trajectory(steps=[make.code((1,)), make.code((1,)), make.code((1,))])
    assert judge({"type": "error_loops"}, loop, spread, fine) == ["error loop", "", ""]
    assert judge({"type": "error_loops", "repeats": 3}, loop) == [""]


def test_origin(make: Any) -> None:
    found = [make.trajectory(), make.trajectory(split="test"), make.trajectory(source="other")]
    assert judge({"type": "origin", "sources": ["demo"], "splits": ["train"]}, *found) == [
        "",
        "other split",
        "other source",
    ]
    assert judge({"type": "origin"}, *found) == ["", "", ""]
