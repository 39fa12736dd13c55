"""Reward terms on small episodes, and what masks one."""

import math
from typing import Any

import pytest

from copilot.data.trajectory import Failure, Outcome, StopReason, Trajectory, Turn
from copilot.envs.actions import ExecuteCode, Feedback, Invalid, Submit
from copilot.errors import RecipeError
from copilot.reward import terms
from copilot.reward.terms import get_term, reward_of, term_names


def turn(index: int, action: Any, status: Any = "ok") -> Turn:
    return Turn(index=index, text="", action=action, feedback=Feedback(text="", status=status))


def episode(*turns: Turn, correct: bool = False, failure: Failure | None = None) -> Trajectory:
    return Trajectory(
        task_id="t",
        attempt=0,
        source="s",
        policy="p",
        protocol="json",
        prompt=(),
        turns=turns,
        outcome=Outcome(submitted=correct, submitted_correct=correct),
        stop_reason=StopReason.SUBMITTED,
        failure=failure,
    )


MIXED = episode(
    turn(0, Invalid(reason="?"), "invalid"),
    turn(1, ExecuteCode(code="x"), "error"),
    turn(2, ExecuteCode(code="x")),
    turn(3, Submit(variable="answer"), "submitted"),
    correct=True,
)


@pytest.mark.parametrize(
    ("name", "expected"), [("answer", 1.0), ("format", 0.75), ("execution", 0.5), ("turns", 3.0), ("repetition", 0.25)]
)
def test_terms(name: str, expected: float) -> None:
    assert get_term(name)(MIXED) == expected


def test_every_term_has_a_value_for_an_empty_episode() -> None:
    assert all(get_term(name)(episode()) == 0.0 for name in term_names())


def test_terms_are_added_with_their_weights() -> None:
    reward = reward_of(MIXED, {"answer": 1.0, "format": 0.2, "turns": -0.01})
    assert reward.total == pytest.approx(1 + 0.15 - 0.03)
    assert reward.terms == {"answer": 1.0, "format": 0.75, "turns": 3.0}


@pytest.mark.parametrize("said", [None, math.nan, math.inf])
def test_what_cannot_be_said_masks_the_episode(said: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    known = terms.get_term
    monkeypatch.setattr(terms, "get_term", lambda name: (lambda _: said) if name == "format" else known(name))
    assert reward_of(MIXED, {"answer": 1.0, "format": 0.2}).total is None


def test_an_infrastructure_failure_has_no_reward() -> None:
    failed = episode(failure=Failure(boundary="sandbox", message="gone"))
    assert reward_of(failed, {"answer": 1.0}).total is None


def test_an_unknown_term_is_named() -> None:
    with pytest.raises(RecipeError, match="did you mean 'answer'"):
        reward_of(MIXED, {"anwser": 1.0})
