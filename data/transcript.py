"""What a verifier reads of an episode: the task, every message with its feedback, and what was submitted.

Invariant: the text is blind to the verdict. Grades, rewards, the stop reason, whether an attempt held a right answer,
and whatever was said after the submission are not in it; neither is who played (a policy's name tells how good it
is). :func:`check_blind` proves it of a text by showing it the same episode with the opposite verdict.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from copilot.data.trajectory import StopReason, Trajectory, Turn
from copilot.errors import DataError


@dataclass(frozen=True)
class Transcript:
    """An episode as text, in three parts: what may never be cut, what may, and the end."""

    task: str
    """The user's message before the first turn: context, if the policy was shown any, and question."""
    turns: tuple[str, ...]
    """Message and feedback of each turn."""
    end: str
    """What was submitted, or that nothing was."""


View = Callable[[Trajectory], Transcript]
"""A way to read an episode."""


def transcript(trajectory: Trajectory, *, after: int | None = None) -> Transcript:
    """The verifier's view of an episode.

    Args:
        trajectory: The episode.
        after: As it stood after so many turns, before anything later was known; ``None``: as it ended.
    """
    asked = [str(m["content"]) for m in trajectory.prompt if m["role"] == "user"]
    outcome = trajectory.outcome
    submitted = f"Submitted: {json.dumps(outcome.answer, ensure_ascii=False)}" if outcome.submitted else ""
    return Transcript(
        task=asked[-1] if asked else trajectory.question,
        turns=tuple(_turn(turn) for turn in trajectory.turns[:after]),
        end="The work goes on." if after is not None else submitted or "Nothing was submitted.",
    )


def _turn(turn: Turn) -> str:
    """A submission's feedback is left out: environments of others may say there whether it was right."""
    said = f"Agent: {turn.text.strip()}\n"
    return said if turn.feedback.status == "submitted" else f"{said}Environment: {turn.feedback.text.strip()}\n"


def check_blind(view: View, trajectory: Trajectory) -> Transcript:
    """The view of an episode, once it is shown not to depend on the verdict.

    Raises:
        DataError: It does: the label leaks into the text.
    """
    seen = view(trajectory)
    if any(view(_other(trajectory, right)) != seen for right in (False, True)):
        raise DataError(
            f"the verifier's text of {trajectory.task_id} #{trajectory.attempt} changes with the verdict: label leak",
            remedy="leave out everything a grader or a person said about the answer",
        )
    return seen


def _other(trajectory: Trajectory, right: bool) -> Trajectory:
    """The same messages and programs, graded ``right`` or wrong, by another policy in another split."""
    word = "right" if right else "wrong"
    turns = tuple(
        turn.model_copy(
            update={
                "attempt_correct": right,
                "policy_version": word,
                "feedback": turn.feedback.model_copy(update={"text": word})
                if turn.feedback.status == "submitted"
                else turn.feedback,
            }
        )
        for turn in trajectory.turns
    )
    verdict = {"submitted_correct": right, "any_attempt_correct": right, "reason": word}
    return trajectory.model_copy(
        update={
            "turns": turns,
            "outcome": trajectory.outcome.model_copy(update=verdict),
            "stop_reason": StopReason.SUBMITTED if right else StopReason.MAX_TURNS,
            "attempt": trajectory.attempt + 1 + right,
            "task_id": word,
            **dict.fromkeys(("policy", "model", "split", "template", "category"), word),
        }
    )
