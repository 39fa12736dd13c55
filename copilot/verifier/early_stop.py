"""Giving up hopeless episodes: a threshold on the verifier's running score, with its error rate stated.

After each turn the verifier (trained with ``prefixes``) scores the episode so far; one below the threshold ends it. The
threshold is fitted on validation episodes to stop at most a given share of those that would have been solved; the error
is what that share really is on other episodes. Pure functions over scores; :class:`EarlyStop` is the hook.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from copilot.data.trajectory import SuccessRule, Trajectory
from copilot.errors import DataError
from copilot.evaluation.statistics import Rate, wilson
from copilot.verifier.base import Scorer


@dataclass(frozen=True)
class Watched:
    """An episode as the verifier saw it grow."""

    scores: tuple[float, ...]
    """After each turn but the last; empty for episodes of one turn."""
    turns: int
    """Turns it took."""
    right: bool
    """Whether it was solved in the end."""

    def stopped_after(self, threshold: float) -> int | None:
        """Turns played when a threshold ends it; ``None``: it plays to its end."""
        return next((i for i, score in enumerate(self.scores, start=1) if score < threshold), None)


@dataclass(frozen=True)
class Stopping:
    """What a threshold does to some episodes."""

    threshold: float
    """Episodes below it are given up."""
    error: Rate
    """Share of the right episodes that were given up."""
    caught: Rate
    """Share of the wrong episodes that were given up."""
    turns_saved: float
    """Share of all turns that were not played."""


async def watch(
    scorer: Scorer, trajectories: Sequence[Trajectory], *, rule: SuccessRule = "submitted"
) -> list[Watched]:
    """Score every episode after each of its turns; masked ones are left out."""
    kept = [t for t in trajectories if not t.masked]
    spots = [(t, turns) for t in kept for turns in range(1, len(t.turns))]
    scores = iter(await scorer.score([t for t, _ in spots], after=[turns for _, turns in spots]))
    return [Watched(tuple(next(scores) for _ in range(1, len(t.turns))), len(t.turns), t.success(rule)) for t in kept]


def fit_threshold(episodes: Sequence[Watched], *, max_error: float) -> float:
    """The highest threshold that gives up at most ``max_error`` of the right episodes.

    Raises:
        DataError: No right episode: the error of a threshold could not be known.
    """
    lowest = sorted(min(e.scores) if e.scores else 1.0 for e in episodes if e.right)
    if not lowest:
        raise DataError(
            f"none of {len(episodes)} validation episodes is right: no threshold can be fitted",
            remedy="validate on tasks that the policy sometimes solves",
        )
    return lowest[min(floor(max_error * len(lowest)), len(lowest) - 1)]


def stopping(episodes: Sequence[Watched], threshold: float) -> Stopping:
    """Error, catch and saving of a threshold, with Wilson intervals.

    Raises:
        ValueError: No episode.
    """
    if not episodes:
        raise ValueError("no episodes to stop")
    ends = [(e, e.stopped_after(threshold)) for e in episodes]
    right = [end for e, end in ends if e.right]
    wrong = [end for e, end in ends if not e.right]
    saved = sum(e.turns - end for e, end in ends if end is not None)
    return Stopping(
        threshold,
        wilson(sum(end is not None for end in right), len(right)),
        wilson(sum(end is not None for end in wrong), len(wrong)),
        saved / sum(e.turns for e in episodes),
    )


@dataclass(frozen=True)
class EarlyStop:
    """Asked after each turn of a running episode; see ``hopeless`` of :func:`copilot.rollout.engine.run_jobs`."""

    scorer: Scorer
    """Started."""
    threshold: float
    """Of :func:`fit_threshold`."""

    async def __call__(self, so_far: Trajectory) -> bool:
        """Whether to give the episode up."""
        (score,) = await self.scorer.score([so_far], after=[len(so_far.turns)])
        return score < self.threshold
