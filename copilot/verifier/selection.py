"""Choosing one of k attempts, and how often the choice is right: Best@k beside Pass@k.

Best@k is an expectation over all subsets of k of the n recorded attempts, not one draw: in closed form for a score,
enumerated (or drawn, with a seed, where there are too many) for votes, whose counts depend on the subset. Ties are
drawn fairly. Invariant: selectors see candidates without labels.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from math import comb, log

import numpy as np

from copilot.errors import DataError
from copilot.evaluation.pass_at_k import pass_at_k
from copilot.verifier.candidates import Candidate, TaskGroup

Selector = Callable[[Sequence[Candidate]], list[float]]
"""Chance of each candidate to be picked; adds up to 1."""

SUBSETS = 1000
"""Subsets looked at for selectors without a closed form; fewer are enumerated, more are drawn."""


def by_score(candidates: Sequence[Candidate]) -> list[float]:
    """The highest learned score."""
    return _share([_score(c) for c in candidates])


def by_likelihood(candidates: Sequence[Candidate]) -> list[float]:
    """The highest sum of the learned score's log-odds and the policy's own log-probability of the attempt.

    After Coder-Reviewer reranking (arXiv 2211.16490), the verifier being the reviewer: what the policy all but never
    writes is rarely right, and there a verifier has seen the least.

    Raises:
        DataError: An attempt without recorded log-probabilities.
    """
    return _share([_log_odds_and_likelihood(c) for c in candidates])


def by_majority(candidates: Sequence[Candidate]) -> list[float]:
    """The most frequent submitted answer; any attempt when none was submitted."""
    return _share(_votes(candidates))


def by_evidence(candidates: Sequence[Candidate]) -> list[float]:
    """Execution evidence first (submitted, ran, agreement between candidates), then the learned score.

    After R2E-Gym's hybrid (arXiv 2504.07164): the learned score decides among what execution cannot tell apart.
    """
    votes = _votes(candidates)
    return _share([(c.submitted, c.ran, votes[i], c.score) for i, c in enumerate(candidates)])


def by_weighted_vote(candidates: Sequence[Candidate]) -> list[float]:
    """The submitted answer whose attempts have the highest sum of learned scores (arXiv 2206.02336)."""
    weights: dict[str | None, float] = {}
    for c in candidates:
        if c.submitted:
            weights[c.answer] = weights.get(c.answer, 0.0) + c.score
    return _share([(weights[c.answer] if c.submitted else 0.0, c.score) for c in candidates])


SELECTORS: dict[str, Selector] = {
    "learned": by_score,
    "hybrid": by_evidence,
    "weighted": by_weighted_vote,
    "likely": by_likelihood,
    "majority": by_majority,
}
"""What is reported, each in a row of its own."""


def usable(groups: Iterable[TaskGroup]) -> dict[str, Selector]:
    """The selectors for some attempts: likelihood needs log-probabilities, which teachers and some APIs do not give."""
    recorded = all(c.logprob is not None for group in groups for c in group.candidates)
    return {name: each for name, each in SELECTORS.items() if recorded or each is not by_likelihood}


def pick(candidates: Sequence[Candidate], selector: Selector = by_score) -> int:
    """Index of the chosen candidate; the first of equals, so that a choice can be repeated.

    Raises:
        ValueError: Nothing to choose from.
    """
    weights = selector(candidates)
    return weights.index(max(weights))


def best_at_k(group: TaskGroup, k: int, selector: Selector, *, seed: int = 0) -> float:
    """Chance that the pick among k random attempts at the task is right.

    Args:
        group: All n attempts.
        k: At most n.
        selector: How one is picked.
        seed: Of the subsets, where they are drawn.

    Raises:
        ValueError: Fewer than ``k`` attempts.
    """
    n = len(group.candidates)
    if not 1 <= k <= n:
        raise ValueError(f"best@{k} of {n} attempts")
    if selector in _MERITS:
        return _best_by_merit(group, k, _MERITS[selector])
    if k == 1:
        return sum(group.correct) / n
    total, count = 0.0, 0
    for subset in _subsets(n, k, seed):
        weights = selector([group.candidates[i] for i in subset])
        total += sum(w for w, i in zip(weights, subset, strict=True) if group.correct[i])
        count += 1
    return total / count


def pass_rate(group: TaskGroup, k: int) -> float:
    """Unbiased Pass@k of a task."""
    return pass_at_k(len(group.correct), sum(group.correct), k)


def _best_by_merit(group: TaskGroup, k: int, merit: Callable[[Candidate], float]) -> float:
    """The best of a subset has a given merit when the subset holds it and nothing above; equals are drawn evenly."""
    tiers: dict[float, list[bool]] = {}
    for candidate, correct in zip(group.candidates, group.correct, strict=True):
        tiers.setdefault(merit(candidate), []).append(correct)
    below, expected = 0, 0.0
    for _, tier in sorted(tiers.items()):
        chance = comb(below + len(tier), k) - comb(below, k)
        expected += chance * sum(tier) / len(tier)
        below += len(tier)
    return expected / comb(below, k)


def _score(candidate: Candidate) -> float:
    return candidate.score


def _log_odds_and_likelihood(candidate: Candidate) -> float:
    if candidate.logprob is None:
        raise DataError(
            "an attempt has no log-probabilities on record", remedy="choose by another way: learned, hybrid or weighted"
        )
    return log(candidate.score) - log(1.0 - candidate.score) + candidate.logprob


_MERITS: dict[Selector, Callable[[Candidate], float]] = {by_score: _score, by_likelihood: _log_odds_and_likelihood}
"""Selectors that compare one number of each candidate: their Best@k has a closed form."""


def closed_form(selector: Selector) -> bool:
    """Whether its Best@k costs nothing to speak of at any k."""
    return selector in _MERITS


def _subsets(n: int, k: int, seed: int) -> list[tuple[int, ...]]:
    if comb(n, k) <= SUBSETS:
        return list(combinations(range(n), k))
    order_SN = np.random.default_rng(seed).random((SUBSETS, n)).argsort(axis=1)
    return [tuple(row) for row in order_SN[:, :k].tolist()]


def _votes(candidates: Sequence[Candidate]) -> list[int]:
    """For each candidate, how many submitted its answer; 0 for those that submitted nothing."""
    counts = Counter(c.answer for c in candidates if c.submitted)
    return [counts[c.answer] if c.submitted else 0 for c in candidates]


def _share(merits: Sequence[object]) -> list[float]:
    """An even chance for each of the greatest."""
    best = max(merits)  # type: ignore[type-var]
    ties = sum(merit == best for merit in merits)
    return [1.0 / ties if merit == best else 0.0 for merit in merits]
