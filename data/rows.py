"""What builders give: training rows, each with the trajectories it came from, and a reason for everything else.

Invariant of every builder: each input trajectory is a parent of a row or has a reason in ``dropped``; each candidate
row is in ``rows`` or counted in ``rows_dropped``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from copilot.data.trajectory import Trajectory

Ref = tuple[str, str, int]
"""Store label, task id, attempt."""


@dataclass(frozen=True)
class Sample:
    """A trajectory and the store it was read from."""

    store: str
    """Label of the store: a stage id or a folder."""
    trajectory: Trajectory
    """The trajectory."""
    score: float | None = None
    """A verifier's, in (0, 1); ``None``: it was not scored."""
    turn_values: Mapping[int, float] | None = None
    """After so many turns: the share of continuations from there that solved the task; ``None``: none were played."""

    @property
    def ref(self) -> Ref:
        """What identifies it among all stores."""
        return self.store, *self.trajectory.key


@dataclass(frozen=True)
class Row:
    """A training row."""

    record: dict[str, Any]
    """The line of the rows file; see the builders for the fields."""
    parents: tuple[Ref, ...]
    """The trajectories it was made of."""
    store: str
    """Store that its share is counted for (of a pair: the rejected side's)."""
    source: str
    """Task source."""
    template: str
    """Question template."""
    tokens: int
    """Tokens of the longest sequence, prompt included."""
    trained: int
    """Tokens with a loss."""
    kind: str = ""
    """Kind of pair, or the label of a KTO row; for the counts."""

    @property
    def task_id(self) -> str:
        """The task."""
        return str(self.record["task_id"])


@dataclass
class Built:
    """The outcome of a builder."""

    rows: list[Row] = field(default_factory=list)
    """Training rows, in the order of preference within a task."""
    dropped: dict[Ref, str] = field(default_factory=dict)
    """Trajectories without a row, with the reason."""
    rows_dropped: Counter[str] = field(default_factory=Counter)
    """Candidates that became no row, by reason."""

    def settle(self, samples: Iterable[Sample], reasons: dict[Ref, str], otherwise: str) -> None:
        """Give each sample that is in no row its reason."""
        used = {ref for row in self.rows for ref in row.parents}
        self.dropped = {s.ref: reasons.get(s.ref, otherwise) for s in samples if s.ref not in used}


def fit(rows: Sequence[Row], max_tokens: int | None, rows_dropped: Counter[str]) -> tuple[list[Row], dict[Ref, str]]:
    """The rows of at most ``max_tokens`` tokens, and the reason for the parents of the others."""
    kept: list[Row] = []
    too_long: list[Row] = []
    for row in rows:
        (kept if max_tokens is None or row.tokens <= max_tokens else too_long).append(row)
    if too_long:
        rows_dropped["too many tokens"] += len(too_long)
    return kept, {ref: "too many tokens" for row in too_long for ref in row.parents}
