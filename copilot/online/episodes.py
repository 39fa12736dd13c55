"""A step's episodes: their rewards, what is masked and why, and which groups a step takes. Pure functions over data.

Invariant: groups are taken in the order they were begun, whatever their length, so a step never prefers short
episodes, and a killed run that plays the missing ones again takes the same groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from copilot.data.trajectory import StopReason, Trajectory
from copilot.online.config import OnlineStage
from copilot.online.rows import TrainRow, rows_of, version_of
from copilot.reward.terms import reward_of

Mask = Literal["", "infrastructure", "no reward", "over-long", "too many tokens", "nothing sampled"]
"""Why an episode is left out of every baseline and loss; empty: it is not."""


@dataclass
class Episode:
    """One episode of a step, as trained on."""

    task_id: str
    """The task."""
    source: str
    """Its source."""
    reward: float
    """What it earned; 0 where masked."""
    terms: dict[str, float]
    """Reward terms before their weights."""
    mask: Mask
    """Why it is masked."""
    solved: bool
    """Whether the submitted answer was right."""
    turns: int
    """Messages."""
    tokens: int
    """Sampled tokens."""
    rows: list[TrainRow] = field(default_factory=list)
    """Trained rows; none where masked."""


@dataclass
class Group:
    """All attempts at one task that were begun together."""

    index: int
    """In the order of beginning, over the whole stage and all ranks."""
    task_id: str
    """The task."""
    episodes: list[Episode]
    """By attempt."""
    version: int
    """Oldest version of the weights that sampled any of it."""

    @property
    def flat(self) -> bool:
        """Whether its rewards cannot tell one episode from another."""
        return len({e.reward for e in self.episodes if not e.mask}) < 2

    def verdict(self) -> "Verdict":
        """What the choice of groups needs to know."""
        return Verdict(self.flat, self.version)


@dataclass(frozen=True)
class Verdict:
    """A finished group, as far as choosing goes."""

    flat: bool
    """Whether it teaches nothing."""
    version: int
    """Oldest version in it."""


@dataclass(frozen=True)
class Choice:
    """The groups of a step."""

    taken: list[int]
    """Indices to train on."""
    flat: list[int]
    """Replaced for want of variance."""
    stale: list[int]
    """Refused for their age."""
    cursor: int
    """First index of the next step."""


def make_episode(trajectory: Trajectory, config: OnlineStage, score: float | None = None) -> Episode:
    """Reward and rows of a finished trajectory; ``score`` is what a verifier said of it."""
    reward = reward_of(trajectory, config.rewards, score=score)
    rows = rows_of(trajectory, episode=0, group=0) if not trajectory.masked else []
    mask = _mask(trajectory, reward.total, rows, config)
    return Episode(
        task_id=trajectory.task_id,
        source=trajectory.source,
        reward=0.0 if mask or reward.total is None else reward.total,
        terms=reward.terms,
        mask=mask,
        solved=trajectory.success("submitted"),
        turns=len(trajectory.turns),
        tokens=sum(turn.completion_tokens for turn in trajectory.turns),
        rows=[] if mask else rows,
    )


def _mask(trajectory: Trajectory, reward: float | None, rows: Sequence[TrainRow], config: OnlineStage) -> Mask:
    if trajectory.masked:
        return "infrastructure"
    if reward is None:
        return "no reward"
    if config.mask_overlong and overlong(trajectory):
        return "over-long"
    if any(len(row) > config.training.max_tokens for row in rows):
        return "too many tokens"
    return "" if rows else "nothing sampled"


def overlong(trajectory: Trajectory) -> bool:
    """Whether a token limit ended it: the context was full, or its last message was cut before it submitted."""
    cut = bool(trajectory.turns) and trajectory.turns[-1].finish_reason == "length"
    return trajectory.stop_reason is StopReason.CONTEXT or (cut and not trajectory.outcome.submitted)


def make_group(
    index: int, trajectories: Sequence[Trajectory], config: OnlineStage, scores: Mapping[int, float] | None = None
) -> Group:
    """A finished group; ``scores`` are a verifier's, by attempt."""
    ordered = sorted(trajectories, key=lambda t: t.attempt)
    versions = [version_of(turn.policy_version) for t in ordered for turn in t.turns]
    return Group(
        index=index,
        task_id=ordered[0].task_id,
        episodes=[make_episode(t, config, (scores or {}).get(t.attempt)) for t in ordered],
        version=min(versions, default=0),
    )


def choose(verdicts: Mapping[int, Verdict], *, cursor: int, version: int, config: OnlineStage) -> Choice | None:
    """The groups of the next step, from ``cursor`` on; ``None`` while one of them is not finished.

    Args:
        verdicts: Finished groups.
        cursor: First index not yet used.
        version: Of the weights that are trained.
        config: Groups per step, dynamic sampling, staleness.
    """
    taken, flat, stale = list[int](), list[int](), list[int]()
    while len(taken) < config.groups:
        if cursor not in verdicts:
            return None
        verdict = verdicts[cursor]
        if _stale(verdict, version, config):
            stale.append(cursor)
        elif verdict.flat and len(flat) < _replaceable(config):
            flat.append(cursor)
        else:
            taken.append(cursor)
        cursor += 1
    return Choice(taken, flat, stale, cursor)


def allowance(
    verdicts: Mapping[int, Verdict], *, cursor: int, version: int, training: bool, config: OnlineStage
) -> int:
    """Indices below this may be begun now: what the coming steps will take without exceeding the staleness bound.

    Args:
        verdicts: Finished groups.
        cursor: First index not yet used.
        version: Of the weights that are served.
        training: Whether a step's groups have just been taken and are being trained on.
        config: The stage.
    """
    under_way = int(training)
    ahead = min(config.staleness.bound + 1, config.steps - version) - under_way
    known = [verdict for index, verdict in verdicts.items() if index >= cursor]
    stale = sum(_stale(verdict, version, config) for verdict in known)
    flat = sum(verdict.flat and not _stale(verdict, version, config) for verdict in known)
    return cursor + ahead * config.groups + stale + min(flat, _replaceable(config))


def _stale(verdict: Verdict, version: int, config: OnlineStage) -> bool:
    return config.staleness.past_bound == "refuse" and version - verdict.version > config.staleness.bound


def _replaceable(config: OnlineStage) -> int:
    """Flat groups that a step may replace."""
    return int(config.dynamic_sampling.limit * config.groups) if config.dynamic_sampling.enabled else 0
