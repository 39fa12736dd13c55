"""What a store holds, counted in one pass; rates and intervals are the evaluation's business."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from copilot.data.trajectory import Trajectory


@dataclass
class StoreStats:
    """Counts over trajectories."""

    trajectories: int = 0
    """Episodes, masked ones included."""
    masked: int = 0
    """Left out of every score and loss."""
    submitted_correct: int = 0
    """Episodes whose submitted answer was right."""
    any_attempt_correct: int = 0
    """Episodes with a right answer in view at some turn."""
    turns: int = 0
    """Turns in all."""
    tokens: int = 0
    """Tokens of all rows."""
    sampled_tokens: int = 0
    """Sampled ones among them."""
    longest_row: int = 0
    """Tokens of the longest row."""
    forks: int = 0
    """Turns whose prompt did not extend the previous ids."""
    seconds: float = 0.0
    """Wall time of all episodes."""
    by_group: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Trajectories per policy, source and split."""
    stop_reasons: Counter[str] = field(default_factory=Counter)
    """Why episodes ended."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How actions ended, ``action/status``."""
    error_types: Counter[str] = field(default_factory=Counter)
    """Exception classes of failed code."""
    failures: Counter[str] = field(default_factory=Counter)
    """Where infrastructure broke."""

    def as_dict(self) -> dict[str, Any]:
        """The counts as JSON."""
        plain = {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}
        return plain | {"by_group": {"/".join(group): count for group, count in self.by_group.items()}}


def store_stats(trajectories: Iterable[Trajectory]) -> StoreStats:
    """Count."""
    stats = StoreStats()
    for t in trajectories:
        stats.trajectories += 1
        stats.masked += t.masked
        stats.submitted_correct += t.success("submitted")
        stats.any_attempt_correct += t.success("any_attempt")
        stats.turns += len(t.turns)
        stats.tokens += sum(len(row.ids) for row in t.rows)
        stats.sampled_tokens += sum(sum(row.mask) for row in t.rows)
        stats.longest_row = max([stats.longest_row, *(len(row.ids) for row in t.rows)])
        stats.forks += t.forks
        stats.seconds += t.seconds
        stats.by_group[t.policy, t.source, t.split] += 1
        stats.stop_reasons[t.stop_reason.value] += 1
        stats.statuses.update(f"{turn.action.type}/{turn.feedback.status}" for turn in t.turns)
        stats.error_types.update(turn.feedback.error_type for turn in t.turns if turn.feedback.error_type)
        stats.failures.update([t.failure.boundary] if t.failure else [])
    return stats
