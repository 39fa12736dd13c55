"""Pass@k and Best@k against brute force, and their blindness to labels."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.errors import DataError
from copilot.evaluation.pass_at_k import pass_at_k
from copilot.verifier.candidates import Candidate, TaskGroup
from copilot.verifier.selection import (
    SELECTORS,
    best_at_k,
    by_evidence,
    by_likelihood,
    by_majority,
    by_score,
    pass_rate,
    pick,
    usable,
)

Attempt = tuple[float, bool, bool, str, float, bool]

attempts = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.3, 0.5, 0.9]),
        st.booleans(),
        st.booleans(),
        st.sampled_from("ab"),
        st.sampled_from([-0.5, -2.0, -20.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=7,
)


def group(rows: Sequence[Attempt]) -> TaskGroup:
    candidates = tuple(Candidate(s, sent, ran, a if sent else None, logprob) for s, sent, ran, a, logprob, _ in rows)
    return TaskGroup("t", "demo", "test", candidates, tuple(row[-1] for row in rows))


def scored(*pairs: tuple[float, bool]) -> TaskGroup:
    return group([(score, True, True, "a", -1.0, right) for score, right in pairs])


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_attempt(outcomes: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(outcomes)))
    subsets = list(combinations(outcomes, k))
    brute = sum(map(any, subsets)) / len(subsets)
    assert pass_at_k(len(outcomes), sum(outcomes), k) == pytest.approx(brute)


def test_pass_at_k_of_the_paper_that_defines_it() -> None:
    assert pass_at_k(16, 0, 16) == 0
    assert pass_at_k(16, 1, 16) == 1
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(5, 2, 3) == pytest.approx(0.9)  # 1 - 1/10
    with pytest.raises(ValueError, match="pass@3"):
        pass_at_k(2, 1, 3)


@settings(deadline=None)
@given(attempts, st.sampled_from(sorted(SELECTORS)), st.data())
def test_best_at_k_is_the_expected_pick_over_all_subsets(rows: list[Attempt], name: str, data: st.DataObject) -> None:
    whole, selector = group(rows), SELECTORS[name]
    k = data.draw(st.integers(1, len(rows)))
    total, subsets = 0.0, list(combinations(range(len(rows)), k))
    for subset in subsets:
        weights = selector([whole.candidates[i] for i in subset])
        assert sum(weights) == pytest.approx(1)
        total += sum(w for w, i in zip(weights, subset, strict=True) if whole.correct[i])
    best = best_at_k(whole, k, selector)
    assert best == pytest.approx(total / len(subsets))
    assert best <= pass_rate(whole, k) + 1e-9
    assert best_at_k(whole, 1, selector) == pytest.approx(pass_rate(whole, 1))


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=10), st.data())
def test_a_perfect_score_reaches_pass_at_k_and_its_reverse_the_floor(outcomes: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(outcomes)))
    perfect = scored(*((0.9 if right else 0.1, right) for right in outcomes))
    worst = scored(*((0.1 if right else 0.9, right) for right in outcomes))
    assert best_at_k(perfect, k, by_score) == pytest.approx(pass_rate(perfect, k))
    assert best_at_k(worst, k, by_score) == pytest.approx(
        1 - pass_at_k(len(outcomes), len(outcomes) - sum(outcomes), k)
    )


def assert_blind(best: Callable[[TaskGroup, int], float]) -> None:
    """Without information in the scores, a choice is right as often as an attempt is."""
    for outcomes in ([True, False, False, False], [False, True, True], [False, False, True, True, True]):
        same = scored(*((0.5, right) for right in outcomes))
        for k in range(1, len(outcomes) + 1):
            assert best(same, k) == pytest.approx(sum(outcomes) / len(outcomes)), "labels leak into Best@K"


def test_best_at_k_knows_no_labels_and_a_planted_leak_is_found() -> None:
    assert_blind(lambda task, k: best_at_k(task, k, by_score))
    assert_blind(lambda task, k: best_at_k(task, k, by_majority))
    assert_blind(lambda task, k: best_at_k(task, k, by_evidence))
    assert_blind(lambda task, k: best_at_k(task, k, by_likelihood))

    def leaking(task: TaskGroup, k: int) -> float:
        """The usual slip: ties are sorted by what is behind the score in the tuple, the label."""
        total, subsets = 0.0, list(combinations(zip(task.candidates, task.correct, strict=True), k))
        for subset in subsets:
            total += max((c.score, right) for c, right in subset)[1]
        return total / len(subsets)

    with pytest.raises(AssertionError, match="leak"):
        assert_blind(leaking)


def test_candidates_carry_no_label() -> None:
    assert set(Candidate.__dataclass_fields__) == {"score", "submitted", "ran", "answer", "logprob"}


def test_majority_counts_submitted_answers_only() -> None:
    votes = [(0.9, True, True, "a"), (0.1, True, True, "b"), (0.2, True, True, "b")]
    silent = [(0.99, False, True, "c")] * 3
    task = group([(*vote, -1.0, False) for vote in [*votes, *silent]])
    assert by_majority(task.candidates) == [0, 0.5, 0.5, 0, 0, 0]
    assert pick(task.candidates, by_majority) == 1
    assert pick(task.candidates) == 3


def test_evidence_comes_before_the_learned_score() -> None:
    task = group(
        [
            (0.99, False, True, "x", -1.0, False),  # never submitted
            (0.95, True, False, "y", -1.0, False),  # its last program failed
            (0.9, True, True, "lonely", -1.0, False),
            (0.3, True, True, "agreed", -1.0, True),
            (0.4, True, True, "agreed", -1.0, True),
        ]
    )
    assert by_evidence(task.candidates) == [0, 0, 0, 0, 1]


def test_likelihood_is_weighed_against_the_odds() -> None:
    """0.9 over 0.5 is a factor of 9 in odds: it makes up for an attempt 8 times as unlikely, not 10 times."""
    for rarer, chosen in ((8.0, 0), (10.0, 1)):
        task = group([(0.9, True, True, "a", -1.0 - log(rarer), False), (0.5, True, True, "b", -1.0, True)])
        assert pick(task.candidates, by_likelihood) == chosen


def test_likelihood_needs_log_probabilities() -> None:
    task = group([(0.9, True, True, "a", -1.0, False)])
    silent = TaskGroup("u", "demo", "test", (Candidate(0.9, True, True, "a"),), (True,))
    assert set(usable([task])) == set(SELECTORS)
    assert set(SELECTORS) - set(usable([task, silent])) == {"likely"}
    with pytest.raises(DataError, match="no log-probabilities on record"):
        best_at_k(silent, 1, by_likelihood)


def test_subsets_beyond_the_cap_are_drawn_with_a_seed() -> None:
    task = group([(0.5, True, True, "ab"[i % 2], -1.0, i % 2 == 0) for i in range(16)])
    one, again = (best_at_k(task, 8, by_majority, seed=3) for _ in range(2))
    assert one == again
    assert one == pytest.approx(0.5, abs=0.05)
