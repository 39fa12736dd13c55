"""Rows for an outcome verifier: an episode's text and whether it was right.

Balanced within each task, so that a verifier cannot do well by telling easy tasks from hard ones; of the wrong
attempts the nearly right ones come first. Attempts that read alike become one row with their number, its weight in the
loss: how often a policy comes to an answer tells too. The text is cut to a context only where it is encoded for a
model, and every row is checked for leaks of its label. Rows of several stores may be mixed, but a store that is always
right (a teacher's) teaches its style: mix stores that are sometimes wrong.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Literal

from copilot.data.rows import Built, Ref, Row, Sample, fit
from copilot.data.trajectory import SuccessRule, Trajectory
from copilot.data.transcript import View, check_blind, transcript
from copilot.envs.actions import ExecuteCode, Terminal
from copilot.reward.values import read_number

Balance = Literal["task", "none"]
"""``task``: as many right as wrong attempts of each task; ``none``: as they come."""

NEAR = 0.2
"""A wrong number within this share of a right one is nearly right."""


def build_verifier(
    samples: Sequence[Sample],
    *,
    balance: Balance = "task",
    prefixes: bool = False,
    success: SuccessRule = "submitted",
    max_tokens: int | None = None,
    view: View = transcript,
) -> Built:
    """Rows of ``task``, ``turns``, ``end``, ``label``, ``task_id``, ``attempt`` (the first's), and how many ``copies``.

    Args:
        samples: Trajectories, filtered; successes and failures.
        balance: Whether right and wrong attempts of a task are made equal in number.
        prefixes: Also a row for each earlier turn, of the episode up to there. Its ``target`` is the share of
            continuations that solved the task where some were played (``Sample.turn_values``), else how it ended.
        success: Which success rate is the label.
        max_tokens: Drop episodes that were longer in the policy's own tokens.
        view: What a verifier sees of an episode.

    Raises:
        DataError: The view shows the label.
    """
    tasks: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        tasks[sample.trajectory.task_id].append(sample)
    built, reasons, rows = Built(), dict[Ref, str](), list[Row]()
    for attempts in tasks.values():
        chosen, left = _balanced(attempts, balance, success)
        reasons |= left
        for reason in left.values():
            built.rows_dropped[reason] += 1
        found = [_row(sample, success, view) for sample in chosen]
        found += [row for sample in chosen for row in _prefix_rows(sample, success)] if prefixes else []
        rows += _merged(found)
    built.rows, too_long = fit(rows, max_tokens, built.rows_dropped)
    built.settle(samples, reasons | too_long, otherwise="unused")
    return built


def _balanced(
    attempts: Sequence[Sample], balance: Balance, success: SuccessRule
) -> tuple[list[Sample], dict[Ref, str]]:
    """Right and wrong attempts in turn, and why the others are left."""
    right = [s for s in attempts if s.trajectory.success(success)]
    wrong = sorted(
        (s for s in attempts if not s.trajectory.success(success)),
        key=lambda s: _hardness(s.trajectory, right),
        reverse=True,
    )
    paired = min(len(right), len(wrong)) if balance == "task" else len(attempts)
    alone = "task all right" if not wrong else "task all wrong" if not right else "more of its label than of the other"
    turns = zip_longest(right[:paired], wrong[:paired])
    left = {sample.ref: alone for sample in [*right[paired:], *wrong[paired:]]}
    return [sample for turn in turns for sample in turn if sample is not None], left


def _hardness(trajectory: Trajectory, right: Sequence[Sample]) -> tuple[bool, bool, bool, bool]:
    """How easily a wrong attempt is taken for a right one; greater is harder.

    In order: it held a right answer on the way; its number is near a right one's; it submitted; its last program ran.
    """
    programs = [turn for turn in trajectory.turns if isinstance(turn.action, ExecuteCode | Terminal)]
    return (
        trajectory.outcome.any_attempt_correct,
        any(_near(trajectory, sample.trajectory) for sample in right),
        trajectory.outcome.submitted,
        bool(programs) and not programs[-1].failed,
    )


def _merged(rows: Sequence[Row]) -> list[Row]:
    """One row for all of a store that read alike and have the same label, in the order of the first ones."""
    alike: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        alike[repr((row.store, {**row.record, "attempt": None}))].append(row)
    return [
        replace(
            same[0],
            record={**same[0].record, "copies": len(same)},
            parents=tuple(ref for row in same for ref in row.parents),
            tokens=max(row.tokens for row in same),
        )
        for same in alike.values()
    ]


def _near(wrong: Trajectory, right: Trajectory) -> bool:
    a, b = read_number(wrong.outcome.answer), read_number(right.outcome.answer)
    return a is not None and b is not None and abs(a - b) <= NEAR * abs(b)


def _prefix_rows(sample: Sample, success: SuccessRule) -> list[Row]:
    """The episode as it stood after each turn but the last."""
    label, values = sample.trajectory.success(success), sample.turn_values or {}
    return [
        _row(sample, success, partial(transcript, after=turns), target=values.get(turns, float(label)))
        for turns in range(1, len(sample.trajectory.turns))
    ]


def _row(sample: Sample, success: SuccessRule, view: View, *, target: float | None = None) -> Row:
    trajectory = sample.trajectory
    seen = check_blind(view, trajectory)
    label = trajectory.success(success) if target is None else target >= 0.5
    kind = "" if target is None else "on the way: "
    return Row(
        record={
            "task": seen.task,
            "turns": list(seen.turns),
            "end": seen.end,
            "label": label,
            "task_id": trajectory.task_id,
            "attempt": trajectory.attempt,
            **({} if target is None else {"target": target}),
        },
        parents=(sample.ref,),
        store=sample.store,
        source=trajectory.source,
        template=trajectory.template,
        tokens=max((len(row.ids) for row in trajectory.rows), default=0),
        trained=1,
        kind=kind + ("right" if label else "wrong"),
    )
