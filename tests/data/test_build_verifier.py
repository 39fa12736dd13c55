"""Verifier rows: blind to the verdict, balanced per task, hard wrong ones first, everything counted."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.data.build_verifier import build_verifier
from copilot.data.dataset import DatasetConfig, build_dataset
from copilot.data.filters.part import PartFilter
from copilot.data.rows import Sample
from copilot.data.trajectory import Outcome, Trajectory
from copilot.data.transcript import Transcript, check_blind, transcript
from copilot.envs.actions import Feedback
from copilot.errors import DataError, EmptyDatasetError


def answered(make: Any, task: str, attempt: int, answer: Any, *, right: bool, on_the_way: bool = False) -> Trajectory:
    trajectory: Trajectory = make.trajectory(task, attempt, correct=right)
    outcome = Outcome(
        submitted=True,
        submitted_correct=right,
        any_attempt_correct=right or on_the_way,
        answer=answer,
        reason="right as rain" if right else "off by one",
    )
    return trajectory.evolve(outcome=outcome)


def samples(*trajectories: Trajectory) -> list[Sample]:
    return [Sample("store", trajectory) for trajectory in trajectories]


def test_a_verifier_reads_task_messages_feedback_and_answer(make: Any) -> None:
    steps = [make.invalid((9,)), make.code((10, 11)), make.submit((12,))]
    trajectory = make.trajectory("demo/train/3", steps=steps, prompt=(1,))
    trajectory = trajectory.evolve(outcome=trajectory.outcome.evolve(answer=[1, "é"]))
    assert transcript(trajectory) == Transcript(
        task="Question of demo/train/3?",
        turns=(
            "Agent: turn (9,)\nEnvironment: \n",
            "Agent: turn (10, 11)\nEnvironment: \n",
            "Agent: turn (12,)\n",
        ),
        end='Submitted: [1, "é"]',
    )
    silent = make.trajectory(steps=[make.code((1,))], correct=False)
    assert transcript(silent).end == "Nothing was submitted."


@settings(deadline=None)
@given(st.booleans(), st.booleans(), st.text(max_size=8))
def test_the_text_is_the_same_for_both_verdicts(make: Any, right: bool, on_the_way: bool, said: str) -> None:
    trajectory = answered(make, "t", 0, 3, right=right, on_the_way=on_the_way)
    *before, last = trajectory.turns
    told = last.evolve(feedback=Feedback(text=f"Submitted. {said}", status="submitted"))
    plain = answered(make, "t", 0, 3, right=True)
    assert transcript(trajectory.evolve(turns=(*before, told))) == transcript(plain)


@pytest.mark.parametrize(
    "leak",
    [
        lambda t: t.outcome.reason,
        lambda t: str(t.outcome.any_attempt_correct),
        lambda t: t.stop_reason.value,
        lambda t: str([turn.attempt_correct for turn in t.turns]),
        lambda t: t.turns[-1].feedback.text,
        lambda t: t.policy,
        lambda t: t.split,
    ],
    ids=["grader", "any attempt", "stop reason", "attempts", "after submission", "policy", "split"],
)
def test_a_planted_leak_is_found(make: Any, leak: Any) -> None:
    trajectory = answered(make, "t", 0, 3, right=True)
    assert check_blind(transcript, trajectory) == transcript(trajectory)

    def leaking(t: Trajectory) -> Transcript:
        seen = transcript(t)
        return Transcript(seen.task, seen.turns, f"{seen.end} {leak(t)}")

    with pytest.raises(DataError, match="label leak"):
        build_verifier(samples(trajectory), balance="none", view=leaking)


def test_balanced_per_task_with_nearly_right_ones_first(make: Any) -> None:
    built = build_verifier(
        samples(
            answered(make, "a", 0, 100, right=True),
            answered(make, "a", 1, 101, right=True),
            make.trajectory("a", 2, [make.code((1,))], correct=False),  # never submitted
            answered(make, "a", 3, 5000, right=False),
            answered(make, "a", 4, 110, right=False),
            answered(make, "a", 5, 7, right=False, on_the_way=True),
            answered(make, "b", 0, 1, right=True),
            answered(make, "c", 0, 1, right=False),
        )
    )
    assert [(row.task_id, row.record["attempt"], row.record["label"]) for row in built.rows] == [
        ("a", 0, True),
        ("a", 5, False),
        ("a", 1, True),
        ("a", 4, False),
    ]
    assert built.rows_dropped == {"more of its label than of the other": 2, "task all right": 1, "task all wrong": 1}
    assert built.dropped["store", "b", 0] == "task all right"
    assert len(built.dropped) + len(built.rows) == 8


def test_unbalanced_rows_keep_everything(make: Any) -> None:
    everything = samples(*(answered(make, "abc"[i % 3], i, i, right=i == 0) for i in range(7)))
    built = build_verifier(everything, balance="none")
    assert len(built.rows) == 7
    assert not built.dropped


def test_attempts_that_read_alike_are_one_row_with_their_number(make: Any) -> None:
    """Of a task, with the same label, in the same store; balance counts attempts."""
    right = [answered(make, "a", i, 1, right=True) for i in range(3)]
    wrong = [answered(make, "a", 3 + i, (7, 8, 7, 9)[i], right=False) for i in range(4)]
    other = Sample("other", answered(make, "a", 0, 1, right=True))
    everything = [*samples(*right, *wrong, answered(make, "b", 0, 1, right=True)), other]
    built = build_verifier(everything, balance="none")
    assert [(row.store, row.task_id, row.record["attempt"], row.record["copies"]) for row in built.rows] == [
        ("store", "a", 0, 3),
        ("store", "a", 3, 2),
        ("store", "a", 4, 1),
        ("other", "a", 0, 1),
        ("store", "a", 6, 1),
        ("store", "b", 0, 1),
    ]
    assert sorted(ref for row in built.rows for ref in row.parents) == sorted(sample.ref for sample in everything)
    balanced = build_verifier(samples(*right, *wrong)).rows
    for label in (True, False):
        assert sum(row.record["copies"] for row in balanced if row.record["label"] is label) == 3


def test_one_sided_tasks_only_end_with_the_counts(make: Any) -> None:
    one_sided = samples(answered(make, "a", 0, 1, right=True), answered(make, "b", 0, 1, right=False))
    with pytest.raises(EmptyDatasetError, match="1 task all right, 1 task all wrong"):
        build_dataset(one_sided, DatasetConfig(format="verifier"))


def test_parts_share_no_task_and_lose_none(make: Any) -> None:
    trajectories = [make.trajectory(f"t{i}", attempt) for i in range(200) for attempt in range(2)]
    parts = {
        part: {t.key for t in trajectories if not PartFilter(part=part, share=0.25).reason(t)}  # type: ignore[arg-type]
        for part in ("train", "validation")
    }
    assert parts["train"] | parts["validation"] == {t.key for t in trajectories}
    assert not {task for task, _ in parts["train"]} & {task for task, _ in parts["validation"]}
    assert 0.15 < len(parts["validation"]) / 400 < 0.35


def test_the_report_adds_up(make: Any) -> None:
    trajectories = [answered(make, f"t{i % 3}", i, i, right=i % 2 == 0) for i in range(12)]
    rows, report = build_dataset(samples(*trajectories), DatasetConfig(format="verifier", max_per_task=2))
    assert [sum(row.record["label"] for row in rows if row.task_id == f"t{i}") for i in range(3)] == [1, 1, 1]
    assert report.by_kind == {"right": 3, "wrong": 3}
    assert report.input == report.used + report.dropped.total()
    assert report.candidates == report.rows + report.rows_dropped.total()
    assert json.loads(json.dumps(rows[0].record))["turns"]
