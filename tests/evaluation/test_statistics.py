"""Intervals against published and independently computed figures, and by property."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from copilot.evaluation.statistics import mcnemar_exact, paired_lift, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 17), (81, 263), (15, 148), (1, 29)])
def test_wilson_equals_scipy(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(method="wilson")
    rate = wilson(k, n)
    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_trials_say_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_more_successes_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="4 successes of 3"):
        wilson(4, 3)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_equals_binomial_test(wins: int, losses: int) -> None:
    expected = binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
    assert mcnemar_exact(wins, losses) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("both", "wins", "losses", "neither", "low", "high"),
    # Newcombe 1998, table II, method 10, rows (e, f, g, h).
    [(36, 12, 2, 0, 0.0569, 0.3404), (20, 12, 2, 16, 0.0562, 0.3292), (0, 0, 0, 50, -0.0713, 0.0713)],
)
def test_paired_interval_reproduces_newcombe(
    both: int, wins: int, losses: int, neither: int, low: float, high: float
) -> None:
    old = [True] * both + [False] * wins + [True] * losses + [False] * neither
    new = [True] * both + [True] * wins + [False] * losses + [False] * neither
    lift = paired_lift(old, new)
    assert (lift.low / 100, lift.high / 100) == pytest.approx((low, high), abs=2e-4)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_paired_lift_holds_its_point_and_flips_with_the_order(pairs: list[tuple[bool, bool]]) -> None:
    old, new = [a for a, _ in pairs], [b for _, b in pairs]
    lift, back = paired_lift(old, new), paired_lift(new, old)
    assert lift.low <= lift.points + 1e-9
    assert lift.points <= lift.high + 1e-9
    assert (back.points, back.low, back.high) == pytest.approx((-lift.points, -lift.high, -lift.low), abs=1e-9)


def test_paired_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        skill = rng.random(60)
        old, new = (skill < 0.3).tolist(), (skill + rng.normal(0, 0.2, 60) < 0.5).tolist()
        truth = 100 * (_share_below(0.5, 0.2) - 0.3)
        lift = paired_lift(old, new)
        covered += lift.low <= truth <= lift.high
    assert covered / 400 > 0.92


def _share_below(limit: float, sigma: float) -> float:
    """P(U + sigma Z < limit) for U uniform on [0, 1]."""
    from scipy.integrate import quad
    from scipy.stats import norm

    return float(quad(lambda u: norm.cdf((limit - u) / sigma), 0, 1)[0])
