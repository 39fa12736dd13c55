"""What is trained on: the token rows of a step's episodes, with what each sampled token is worth.

Invariant: a row has exactly the tokens that were shown and sampled, in order; ``trained`` are the sampled ones, and
every per-token tensor is over these alone.
"""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from copilot.data.trajectory import Trajectory
from copilot.errors import DataError

VERSION = re.compile(r"@v(\d+)$")
"""How a turn names the version of the weights that sampled it (:mod:`copilot.policy.versions`)."""


@dataclass
class TrainRow:
    """One row of an episode."""

    ids: list[int]
    """Token ids, prompt first."""
    trained: list[int]
    """Positions of the sampled tokens, ascending, none of them 0."""
    server_logps_N: Tensor
    """Log-probability of each sampled token by the policy that sampled."""
    versions_N: Tensor
    """Version of that policy, int64."""
    temperature: float
    """Of the sampling distribution."""
    episode: int
    """Index of the episode in the step."""
    group: int
    """Index of the group in the step."""
    advantages_N: Tensor | None = None
    """Set by the advantage estimator."""
    old_logps_N: Tensor | None = None
    """By the trainer before the step's first update; ``None``: the step has one update only."""
    reference_N: Tensor | None = None
    """By the frozen reference."""
    old_values_N: Tensor | None = None
    """By the critic before the step's first update."""
    returns_N: Tensor | None = None
    """Value targets."""

    @property
    def prompt_length(self) -> int:
        """Tokens before the first trained one: what siblings may share."""
        return self.trained[0]

    def __len__(self) -> int:
        return len(self.ids)


def rows_of(trajectory: Trajectory, *, episode: int, group: int) -> list[TrainRow]:
    """The trained rows of an episode.

    Raises:
        DataError: It was not sampled with log-probabilities.
    """
    versions = {turn.index: version_of(turn.policy_version) for turn in trajectory.turns}
    rows = []
    for row in trajectory.rows:
        if row.logprobs is None:
            raise DataError("an episode without log-probabilities cannot be trained on", where=trajectory.task_id)
        trained = [place for span in row.spans for place in range(span.start, span.end) if place > 0]
        token_versions = [versions[s.turn] for s in row.spans for place in range(s.start, s.end) if place > 0]
        if not trained:
            continue
        rows.append(
            TrainRow(
                ids=list(row.ids),
                trained=trained,
                server_logps_N=torch.tensor([row.logprobs[place] for place in trained]),
                versions_N=torch.tensor(token_versions),
                temperature=row.temperature,
                episode=episode,
                group=group,
            )
        )
    return rows


def version_of(policy_version: str) -> int:
    """The number in a turn's ``policy_version``; 0 when the server had one set of weights only."""
    found = VERSION.search(policy_version)
    return int(found[1]) if found else 0
