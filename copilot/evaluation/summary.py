"""From trajectories to figures: rates by both success rules, per source and split, and error types.

Masked samples (infrastructure failures) are counted and left out of every rate.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from copilot.data.trajectory import StopReason, Trajectory, Turn, trailing_repeats
from copilot.evaluation.statistics import PairedLift, paired_lift, wilson

ERROR_TYPES = (
    "solved",
    "loop",
    "invalid_action",
    "syntax",
    "runtime",
    "io",
    "timeout",
    "wrong_answer",
    "no_submit",
    "context",
)
"""What became of an episode, most telling cause first (after the paper, Fig. 8)."""
SYNTAX_ERRORS = frozenset({"SyntaxError", "IndentationError", "TabError"})
"""Exceptions of programs that do not compile."""
IO_ERRORS = frozenset(
    {"OSError", "FileNotFoundError", "IsADirectoryError", "NotADirectoryError", "PermissionError", "FileExistsError",
     "EOFError", "UnicodeDecodeError", "pandas.errors.EmptyDataError", "EmptyDataError", "ParserError"}
)  # fmt: skip
"""Exceptions of programs that do not get at their data."""


def summarize(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Figures of one policy on one set of episodes.

    Returns:
        JSON: ``submitted`` and ``any_attempt`` (``rate``, ``low``, ``high`` in percent, ``successes``, ``total``),
        ``valid_action_rate``, ``turns``, ``prompt_tokens``, ``completion_tokens`` (means), ``errors`` (counts),
        ``masked``.
    """
    scored = [t for t in trajectories if not t.masked]
    turns = [turn for t in scored for turn in t.turns]
    return {
        "episodes": len(scored),
        "masked": len(trajectories) - len(scored),
        "submitted": _rate([t.outcome.submitted_correct for t in scored]),
        "any_attempt": _rate([t.outcome.any_attempt_correct for t in scored]),
        "valid_action_rate": _share([turn.action.type != "invalid" for turn in turns]),
        "submit_rate": _share([t.outcome.submitted for t in scored]),
        "turns": _mean([len(t.turns) for t in scored]),
        "prompt_tokens": _mean([sum(turn.prompt_tokens for turn in t.turns) for t in scored]),
        "completion_tokens": _mean([sum(turn.completion_tokens for turn in t.turns) for t in scored]),
        "seconds": _mean([t.seconds for t in scored]),
        "errors": dict(Counter(error_type(t) for t in scored)),
    }


def summarize_by(trajectories: Iterable[Trajectory], key: Callable[[Trajectory], str]) -> dict[str, dict[str, Any]]:
    """:func:`summarize` per group, sorted by group."""
    groups: dict[str, list[Trajectory]] = {}
    for trajectory in trajectories:
        groups.setdefault(key(trajectory), []).append(trajectory)
    return {name: summarize(group) for name, group in sorted(groups.items())}


def compare(old: Iterable[Trajectory], new: Iterable[Trajectory]) -> PairedLift:
    """Paired lift in submitted success over the (task, attempt) keys that both finished."""
    before, after = submitted_by_key(old), submitted_by_key(new)
    shared = sorted(before.keys() & after.keys())
    return paired_lift([before[k] for k in shared], [after[k] for k in shared])


def submitted_by_key(trajectories: Iterable[Trajectory]) -> dict[tuple[str, int], bool]:
    """Submitted success by (task, attempt), masked samples left out."""
    return {t.key: t.outcome.submitted_correct for t in trajectories if not t.masked}


def spoke_protocol(trajectory: Trajectory) -> bool:
    """Whether the first message was a permitted action: the policy knew the format before training."""
    return bool(trajectory.turns) and trajectory.turns[0].action.type != "invalid"


def error_type(trajectory: Trajectory) -> str:
    """Which of :data:`ERROR_TYPES` an episode was."""
    if trajectory.outcome.submitted_correct:
        return "solved"
    if trajectory.outcome.submitted:
        return "wrong_answer"
    if trajectory.stop_reason == StopReason.CONTEXT:
        return "context"
    if _loops(trajectory.turns):
        return "loop"
    for turn in reversed(trajectory.turns):
        kind = _turn_error(turn)
        if kind:
            return kind
    return "no_submit"


def _loops(turns: Sequence[Turn]) -> bool:
    """The same action with the same feedback at least three times in a row."""
    return any(trailing_repeats(turns[:end]) >= 3 for end in range(3, len(turns) + 1))


def _turn_error(turn: Turn) -> str:
    if turn.action.type == "invalid":
        return "invalid_action"
    if turn.feedback.status == "timeout":
        return "timeout"
    if turn.feedback.status in ("error", "memory", "crashed"):
        kinds = {"syntax": SYNTAX_ERRORS, "io": IO_ERRORS}
        return next((kind for kind, names in kinds.items() if turn.feedback.error_type in names), "runtime")
    return ""


def lift_record(lift: PairedLift) -> dict[str, float | int]:
    """A paired lift as JSON."""
    return {
        "points": round(lift.points, 2), "low": round(lift.low, 2), "high": round(lift.high, 2),
        "p_value": lift.p_value, "wins": lift.wins, "losses": lift.losses, "tasks": lift.total,
    }  # fmt: skip


def best_label(summaries: Mapping[str, dict[str, Any]]) -> str:
    """The key with the highest submitted rate; ties go to any-attempt, then valid-action rate, then order."""

    def merit(key: str) -> tuple[float, float, float]:
        summary = summaries[key]
        return summary["submitted"]["rate"], summary["any_attempt"]["rate"], summary["valid_action_rate"]

    return max(summaries, key=merit)


def _rate(values: Sequence[bool]) -> dict[str, float | int]:
    rate = wilson(sum(values), len(values))
    return {
        "rate": round(100 * rate.value, 2), "low": round(100 * rate.low, 2), "high": round(100 * rate.high, 2),
        "successes": rate.successes, "total": rate.total,
    }  # fmt: skip


def _share(values: Sequence[bool]) -> float:
    return round(100 * sum(values) / len(values), 2) if values else 0.0


def _mean(values: Sequence[float]) -> float:
    return round(mean(values), 3) if values else 0.0
