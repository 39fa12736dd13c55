"""Intervals and tests for success rates: pure functions over booleans.

Rates carry Wilson score intervals (Wilson 1927, doi:10.1080/01621459.1927.10502953). Two policies on the same
tasks are compared pairwise: Newcombe's score interval for a paired difference (Newcombe 1998,
doi:10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C, method 10) and McNemar's exact test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

Z95 = 1.959963984540054
"""Two-sided 95 % normal quantile."""


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval."""

    successes: int
    """Number of successes."""
    total: int
    """Number of trials."""
    low: float
    """Lower end, in [0, 1]."""
    high: float
    """Upper end, in [0, 1]."""

    @property
    def value(self) -> float:
        """The share; 0 for no trials."""
        return self.successes / self.total if self.total else 0.0

    def __str__(self) -> str:
        """``41.7 % [33.2, 50.6]``."""
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class PairedLift:
    """How much better one policy is than another on the same tasks, in percentage points."""

    points: float
    """Difference of the two rates."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""
    p_value: float
    """McNemar's exact two-sided p."""
    wins: int
    """Tasks only the new policy solves."""
    losses: int
    """Tasks only the old policy solves."""
    total: int
    """Tasks both were run on."""

    def __str__(self) -> str:
        """``+25.0 points [17.1, 32.9], p=0.0001``."""
        return f"{self.points:+.1f} points [{self.low:+.1f}, {self.high:+.1f}], p={self.p_value:.2g}"


def wilson(successes: int, total: int, *, z: float = Z95) -> Rate:
    """A rate with its Wilson score interval; no trials give [0, 1]."""
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} successes of {total} trials")
    if total == 0:
        return Rate(0, 0, 0.0, 1.0)
    share = successes / total
    denominator = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / denominator
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / denominator
    return Rate(successes, total, max(0.0, centre - half), min(1.0, centre + half))


def paired_lift(old: Sequence[bool], new: Sequence[bool]) -> PairedLift:
    """Compare two policies on the same tasks, in the same order.

    Args:
        old: Success of the old policy per task.
        new: Success of the new policy per task.

    Returns:
        The difference with Newcombe's method-10 interval and McNemar's exact p; all zero for no tasks.

    Raises:
        ValueError: Different lengths.
    """
    if len(old) != len(new):
        raise ValueError(f"{len(old)} and {len(new)} outcomes cannot be paired")
    total = len(old)
    if total == 0:
        return PairedLift(0.0, 0.0, 0.0, 1.0, 0, 0, 0)
    wins = sum(b and not a for a, b in zip(old, new, strict=True))
    losses = sum(a and not b for a, b in zip(old, new, strict=True))
    both = sum(a and b for a, b in zip(old, new, strict=True))
    difference = (wins - losses) / total
    low, high = _newcombe(both, wins, losses, total - both - wins - losses)
    return PairedLift(100 * difference, 100 * low, 100 * high, mcnemar_exact(wins, losses), wins, losses, total)


def mcnemar_exact(wins: int, losses: int) -> float:
    """Two-sided exact binomial p of ``wins`` against ``losses`` under equal chances."""
    n, k = wins + losses, min(wins, losses)
    return min(1.0, sum(comb(n, i) for i in range(k + 1)) / 2.0 ** (n - 1))


def _newcombe(both: int, wins: int, losses: int, neither: int) -> tuple[float, float]:
    """Newcombe 1998, method 10: Wilson limits of each rate joined with a correlation corrected for continuity."""
    total = both + wins + losses + neither
    new, old = wilson(both + wins, total), wilson(both + losses, total)
    phi = _correlation(both, wins, losses, neither)
    difference = new.value - old.value
    below_new, above_old = new.value - new.low, old.high - old.value
    above_new, below_old = new.high - new.value, old.value - old.low
    low = difference - sqrt(max(0.0, below_new**2 - 2 * phi * below_new * above_old + above_old**2))
    high = difference + sqrt(max(0.0, above_new**2 - 2 * phi * above_new * below_old + below_old**2))
    return max(-1.0, low), min(1.0, high)


def _correlation(both: int, wins: int, losses: int, neither: int) -> float:
    total = both + wins + losses + neither
    margins = (both + wins) * (losses + neither) * (both + losses) * (wins + neither)
    if margins == 0:
        return 0.0
    numerator = both * neither - wins * losses
    if numerator > 0:
        numerator = max(numerator - total // 2, 0)
    return numerator / sqrt(margins)
