"""Reward-hacking probe: what would answers that know nothing have earned on the tasks of this very step?

A reward that junk can have is a reward that training will find. The best single junk answer is what counts: a policy
can learn to give one answer always.
"""

from collections.abc import Mapping, Sequence
from statistics import mean

from pydantic import JsonValue

from copilot.data.trajectory import Outcome, StopReason, Trajectory, Turn
from copilot.envs.actions import Feedback, Submit
from copilot.envs.task import Task
from copilot.reward.graders import grade
from copilot.reward.terms import reward_of

JUNK: tuple[JsonValue, ...] = (0, 1, -1, "", "yes", "0", [], [[]], [[0]], [[1]], None, True, False, "unanswerable")
"""Answers tried on every task."""


def junk_reward(tasks: Sequence[Task], weights: Mapping[str, float]) -> float:
    """Mean reward, over ``tasks``, of the best answer in :data:`JUNK`, submitted at once."""
    return max(mean(reward_of(_junk_episode(task, junk), weights).total or 0.0 for task in tasks) for junk in JUNK)


def _junk_episode(task: Task, answer: JsonValue) -> Trajectory:
    verdict = grade(task.reference.answer, answer)
    feedback = Feedback(text="Submitted.", status="submitted")
    return Trajectory(
        task_id=task.id,
        attempt=0,
        source=task.source,
        policy="junk",
        protocol="json",
        prompt=(),
        turns=(Turn(index=0, text="", action=Submit(answer=answer), feedback=feedback),),
        outcome=Outcome(submitted=True, submitted_correct=verdict.correct, answer=answer, reason=verdict.reason),
        stop_reason=StopReason.SUBMITTED,
    )
