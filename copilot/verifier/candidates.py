"""The attempts at a task as a selector sees them, with the labels kept apart.

Invariant: a :class:`Candidate` holds what is known without a reference (score, evidence, answer), never whether it is
right. Selectors get candidates only, so no label can leak into a choice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from copilot.data.trajectory import SuccessRule, Trajectory
from copilot.envs.actions import ExecuteCode, Terminal
from copilot.errors import DataError
from copilot.verifier.answers import answer_key

Key = tuple[str, int]
"""Task id and attempt."""


@dataclass(frozen=True)
class Candidate:
    """One attempt, without its label."""

    score: float
    """The verifier's, in (0, 1)."""
    submitted: bool
    """Whether something was submitted."""
    ran: bool
    """Whether the last program ran through; false when none was run."""
    answer: str | None
    """What was submitted, in a form in which equal answers are equal; ``None`` without a submission."""
    logprob: float | None = None
    """What the policy gave to all it sampled, in nats; ``None``: it was not recorded."""


@dataclass(frozen=True)
class TaskGroup:
    """All scored attempts at a task."""

    task_id: str
    """The task."""
    source: str
    """Its source."""
    split: str
    """Its split."""
    candidates: tuple[Candidate, ...]
    """Attempts, in order."""
    correct: tuple[bool, ...]
    """Whether each is right; seen by metrics, never by selectors."""

    @property
    def mixed(self) -> bool:
        """Whether some attempts are right and some wrong: only then is there something to choose."""
        return 0 < sum(self.correct) < len(self.correct)


def candidate(trajectory: Trajectory, score: float) -> Candidate:
    """What a selector may know of an episode."""
    programs = [turn for turn in trajectory.turns if isinstance(turn.action, ExecuteCode | Terminal)]
    submitted = trajectory.outcome.submitted
    return Candidate(
        score=score,
        submitted=submitted,
        ran=bool(programs) and not programs[-1].failed,
        answer=answer_key(trajectory.outcome.answer) if submitted else None,
        logprob=_logprob(trajectory),
    )


def _logprob(trajectory: Trajectory) -> float | None:
    """Of all sampled tokens together, under the distribution they were sampled from."""
    recorded = [row.logprobs for row in trajectory.rows if row.logprobs is not None]
    if not trajectory.rows or len(recorded) < len(trajectory.rows):
        return None
    return sum(map(sum, recorded))


def group_by_task(
    trajectories: Iterable[Trajectory], scores: Mapping[Key, float], *, rule: SuccessRule = "submitted"
) -> list[TaskGroup]:
    """Groups of scored attempts, sorted by task; masked samples are left out.

    Args:
        trajectories: All attempts.
        scores: Score by (task, attempt).
        rule: Which success rate labels them.

    Raises:
        DataError: No usable attempt, one without a score, or a score outside (0, 1); with counts.
    """
    kept = sorted((t for t in trajectories if not t.masked), key=lambda t: t.key)
    if not kept:
        raise DataError("no trajectory with an outcome to evaluate", remedy="sample first; masked ones have none")
    missing = sum(t.key not in scores for t in kept)
    if missing:
        raise DataError(
            f"{missing} of {len(kept)} trajectories have no score", remedy="score the same stores that are evaluated"
        )
    outside = sum(not 0.0 < scores[t.key] < 1.0 for t in kept)
    if outside:
        raise DataError(f"{outside} of {len(kept)} scores are no numbers in (0, 1)", remedy="score them again")
    groups: dict[str, list[Trajectory]] = {}
    for trajectory in kept:
        groups.setdefault(trajectory.task_id, []).append(trajectory)
    return [
        TaskGroup(
            task_id=task,
            source=attempts[0].source,
            split=attempts[0].split,
            candidates=tuple(candidate(t, scores[t.key]) for t in attempts),
            correct=tuple(t.success(rule) for t in attempts),
        )
        for task, attempts in groups.items()
    ]


def require_mixed(groups: Iterable[TaskGroup]) -> list[TaskGroup]:
    """The groups with both outcomes.

    Raises:
        DataError: Every task is all right or all wrong: nothing can be ranked; with counts.
    """
    listed = list(groups)
    mixed = [group for group in listed if group.mixed]
    if not mixed:
        counts = Counter(
            "all right" if group.correct and all(group.correct) else "all wrong" for group in listed if group.correct
        )
        raise DataError(
            f"no task has both right and wrong attempts: {dict(counts)} of {len(listed)} tasks",
            remedy="sample more attempts, at a higher temperature, or tasks nearer the policy's skill",
        )
    return mixed
