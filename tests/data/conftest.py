"""A small factory of hand-made trajectories; token ids are numbered so that every token is recognisable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from copilot.data.trajectory import Failure, Outcome, StopReason, TokenRow, Trajectory, Turn, TurnSpan
from copilot.envs.actions import Action, ExecuteCode, Feedback, Invalid, Submit


@dataclass(frozen=True)
class Step:
    """A turn to be made: sampled tokens, then the environment's tokens."""

    ids: tuple[int, ...]
    action: Action
    status: str = "ok"
    correct: bool | None = None
    env_ids: tuple[int, ...] = (7, 8)


def code(ids: Sequence[int], text: str = "answer = 1", **rest: Any) -> Step:
    return Step(tuple(ids), ExecuteCode(code=text), **rest)


def submit(ids: Sequence[int], **rest: Any) -> Step:
    return Step(tuple(ids), Submit(variable="answer"), status="submitted", env_ids=(), **rest)


def invalid(ids: Sequence[int]) -> Step:
    return Step(tuple(ids), Invalid(reason="no action"), status="invalid")


def make_row(prompt: Sequence[int], steps: Sequence[Step], first_turn: int = 0) -> TokenRow:
    ids, mask, spans = list(prompt), [0] * len(prompt), []
    for number, step in enumerate(steps, start=first_turn):
        spans.append(TurnSpan(turn=number, start=len(ids), end=len(ids) + len(step.ids)))
        ids += [*step.ids, *step.env_ids]
        mask += [1] * len(step.ids) + [0] * len(step.env_ids)
    return TokenRow(ids=tuple(ids), mask=tuple(mask), spans=tuple(spans), logprobs=tuple(-0.5 * m for m in mask))


def make_trajectory(
    task_id: str = "demo/train/0",
    attempt: int = 0,
    steps: Sequence[Step] = (),
    *,
    correct: bool = True,
    prompt: Sequence[int] = (1, 2, 3),
    rows: tuple[TokenRow, ...] | None = None,
    failed: bool = False,
    **rest: Any,
) -> Trajectory:
    steps = steps or (code((10, 11)), submit((12, 13)))
    turns = tuple(
        Turn(
            index=i,
            text=f"turn {s.ids}",
            action=s.action,
            feedback=Feedback(text="", status=s.status),  # type: ignore[arg-type]
            attempt_correct=s.correct,
        )
        for i, s in enumerate(steps)
    )
    submitted = any(isinstance(s.action, Submit) for s in steps)
    fields: dict[str, Any] = {
        "source": "demo",
        "split": "train",
        "template": "t0",
        "policy": "base",
        "protocol": "json",
        "prompt": ({"role": "user", "content": f"Question of {task_id}?"},),
        "outcome": Outcome(
            submitted=submitted,
            submitted_correct=correct and submitted,
            any_attempt_correct=correct or any(s.correct for s in steps),
        ),
        "stop_reason": StopReason.FAILURE if failed else StopReason.SUBMITTED,
        "failure": Failure(boundary="sandbox", message="gone") if failed else None,
        "rows": (make_row(prompt, steps),) if rows is None else rows,
    }
    return Trajectory(task_id=task_id, attempt=attempt, turns=turns, **{**fields, **rest})


class Factory:
    """What tests build trajectories with."""

    code = staticmethod(code)
    submit = staticmethod(submit)
    invalid = staticmethod(invalid)
    row = staticmethod(make_row)
    trajectory: Callable[..., Trajectory] = staticmethod(make_trajectory)


@pytest.fixture(scope="session")
def make() -> Factory:
    return Factory()
