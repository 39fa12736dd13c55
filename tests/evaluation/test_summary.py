"""Summaries over hand-made episodes: rates, masks, error types, pairing."""

from typing import Any

import pytest

from copilot.data.trajectory import Failure, Outcome, StopReason, Trajectory, Turn
from copilot.envs.actions import ExecuteCode, Feedback, Invalid, Submit
from copilot.evaluation.summary import best_label, compare, error_type, spoke_protocol, summarize, summarize_by


def turn(index: int, action: Any, status: Any = "ok", text: str = "", error: str = "") -> Turn:
    feedback = Feedback(text=text, status=status, error_type=error)
    return Turn(index=index, text="", action=action, feedback=feedback, completion_tokens=10)


def episode(
    task: str,
    turns: list[Turn],
    *,
    correct: bool = False,
    any_attempt: bool = False,
    submitted: bool = True,
    failed: bool = False,
    stop: StopReason | None = None,
) -> Trajectory:
    ended = StopReason.SUBMITTED if submitted else StopReason.MAX_TURNS
    return Trajectory(
        task_id=task,
        attempt=0,
        source="s",
        split="test_seen" if task < "t5" else "test_unseen",
        policy="p",
        protocol="markdown",
        prompt=({"role": "user", "content": "q"},),
        turns=tuple(turns),
        outcome=Outcome(submitted=submitted, submitted_correct=correct, any_attempt_correct=correct or any_attempt),
        stop_reason=StopReason.FAILURE if failed else stop or ended,
        failure=Failure(boundary="sandbox", message="gone") if failed else None,
    )


CELL = ExecuteCode(code="answer = 1")
SUBMIT = Submit(variable="answer")


def test_masked_samples_are_counted_and_left_out() -> None:
    good = episode("t1", [turn(0, CELL), turn(1, SUBMIT, "submitted")], correct=True)
    late = episode("t2", [turn(0, CELL)], submitted=False, any_attempt=True)
    broken = episode("t3", [], failed=True)
    figures = summarize([good, late, broken])
    assert (figures["episodes"], figures["masked"]) == (2, 1)
    assert (figures["submitted"]["successes"], figures["submitted"]["total"]) == (1, 2)
    assert figures["submitted"]["rate"] == 50.0
    assert figures["any_attempt"]["rate"] == 100.0
    assert figures["turns"] == 1.5
    assert figures["completion_tokens"] == 15


def test_nothing_scored_has_a_full_interval() -> None:
    figures = summarize([episode("t1", [], failed=True)])
    assert (figures["submitted"]["rate"], figures["submitted"]["low"], figures["submitted"]["high"]) == (
        0.0,
        0.0,
        100.0,
    )


@pytest.mark.parametrize(
    ("turns", "options", "expected"),
    [
        ([turn(0, SUBMIT, "submitted")], {"correct": True}, "solved"),
        ([turn(0, SUBMIT, "submitted")], {}, "wrong_answer"),
        ([turn(0, CELL)], {"submitted": False}, "no_submit"),
        ([turn(0, CELL)], {"submitted": False, "stop": StopReason.CONTEXT}, "context"),
        ([turn(i, CELL, "error", "NameError", "NameError") for i in range(3)], {"submitted": False}, "loop"),
        ([turn(0, CELL, "error", "x", "SyntaxError")], {"submitted": False}, "syntax"),
        ([turn(0, CELL, "error", "x", "KeyError"), turn(1, CELL)], {"submitted": False}, "runtime"),
        ([turn(0, CELL, "timeout")], {"submitted": False}, "timeout"),
        ([turn(0, Invalid(reason="no block"), "invalid")], {"submitted": False}, "invalid_action"),
    ],
)
def test_error_types(turns: list[Turn], options: dict[str, Any], expected: str) -> None:
    assert error_type(episode("t1", turns, **options)) == expected


def test_pairs_are_formed_over_what_both_finished() -> None:
    old = [episode("t1", [], correct=False), episode("t2", [], correct=True), episode("t3", [], failed=True)]
    new = [episode("t1", [], correct=True), episode("t2", [], correct=True), episode("t3", [], correct=True)]
    lift = compare(old, new)
    assert (lift.total, lift.wins, lift.losses, lift.points) == (2, 1, 0, 50.0)


def test_groups_and_the_best_protocol() -> None:
    episodes = [episode("t1", [], correct=True), episode("t9", [])]
    groups = summarize_by(episodes, lambda t: t.split)
    assert {k: v["submitted"]["rate"] for k, v in groups.items()} == {"test_seen": 100.0, "test_unseen": 0.0}
    assert best_label({"json": summarize(episodes[1:]), "markdown": summarize(episodes)}) == "markdown"


def test_speaking_the_protocol_is_judged_by_the_first_message() -> None:
    assert spoke_protocol(episode("t1", [turn(0, CELL), turn(1, Invalid(reason="x"), "invalid")]))
    assert not spoke_protocol(episode("t1", [turn(0, Invalid(reason="x"), "invalid"), turn(1, CELL)]))
    assert not spoke_protocol(episode("t1", []))
