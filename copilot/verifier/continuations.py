"""Per-turn labels by Monte-Carlo continuations (Math-Shepherd, arXiv 2312.08935): how often it is solved from here.

An episode is played again up to a turn, message by message as recorded, and from there by the policy, several times;
the share of continuations that solve the task labels the turn. Continuations are episodes of a store of their own,
numbered by :func:`plan`; the environment is replayed for real, so what they build on is really there.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from copilot.data.trajectory import SuccessRule, Trajectory
from copilot.policy.base import Generation, GenerationRequest, Policy

Key = tuple[str, int]
"""Task id and attempt."""


@dataclass(frozen=True)
class Spot:
    """Where a continuation leaves the recorded episode."""

    origin: Trajectory
    """The recorded episode."""
    turns: int
    """Turns that are replayed."""


def plan(trajectories: Iterable[Trajectory], *, repeats: int) -> dict[Key, Spot]:
    """The continuations to play: for each episode and each of its turns but the last, ``repeats`` of them.

    Returns:
        Spot by (task, attempt of the continuation); attempts count from 0 within a task, in the same order every time.
    """
    spots: dict[str, list[Spot]] = defaultdict(list)
    for trajectory in sorted((t for t in trajectories if not t.masked), key=lambda t: t.key):
        for turns in range(1, len(trajectory.turns)):
            spots[trajectory.task_id] += [Spot(trajectory, turns)] * repeats
    return {(task, number): spot for task, listed in spots.items() for number, spot in enumerate(listed)}


def turn_values(
    spots: Mapping[Key, Spot], played: Iterable[Trajectory], *, rule: SuccessRule = "submitted"
) -> dict[Key, dict[int, float]]:
    """Share of solved continuations by recorded episode and number of turns; turns none was played from have none."""
    outcomes: dict[tuple[Key, int], list[bool]] = defaultdict(list)
    for trajectory in played:
        if not trajectory.masked:
            spot = spots[trajectory.key]
            outcomes[spot.origin.key, spot.turns].append(trajectory.success(rule))
    values: dict[Key, dict[int, float]] = defaultdict(dict)
    for (key, turns), solved in outcomes.items():
        values[key][turns] = sum(solved) / len(solved)
    return dict(values)


class Replay(Policy):
    """Says what was recorded up to the spot, then what ``policy`` says.

    Args:
        policy: Plays on; started and closed by its owner.
        spots: Of :func:`plan`.
    """

    def __init__(self, policy: Policy, spots: Mapping[Key, Spot]) -> None:
        self._policy, self._spots = policy, spots
        self.tokenizer, self.context_length, self.label = policy.tokenizer, policy.context_length, policy.label

    async def start(self) -> None:
        """The policy is its owner's to start."""

    async def close(self) -> None:
        """The policy is its owner's to close."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """A recorded turn or a new one; see :meth:`Policy.generate`."""
        spot = self._spots[request.task.id, request.attempt]
        if request.turn >= spot.turns:
            return await self._policy.generate(request)
        turn = spot.origin.turns[request.turn]
        ids = _sampled_ids(spot.origin, request.turn)
        return Generation(
            text=turn.text,
            finish_reason=turn.finish_reason,
            token_ids=ids,
            policy_version=turn.policy_version,
            prompt_tokens=turn.prompt_tokens,
            completion_tokens=turn.completion_tokens,
        )


def _sampled_ids(trajectory: Trajectory, turn: int) -> list[int] | None:
    """The ids of a recorded turn; ``None`` for text-only ones."""
    found: Sequence[list[int]] = [
        list(row.ids[span.start : span.end]) for row in trajectory.rows for span in row.spans if span.turn == turn
    ]
    return found[0] if found else None
