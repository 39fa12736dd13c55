"""Scores that mean what they say: temperature scaling, expected calibration error, the bins of a reliability plot.

A verifier gives a logit z; its score is sigmoid(z / temperature + shift), fitted on validation attempts by maximum
likelihood (temperature scaling, Guo et al. 2017, arXiv 1706.04599; the shift is Platt's and undoes the balancing of
training rows, which moves the share of right ones). Both keep the order of scores, so choices do not change.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from copilot.config import Record
from copilot.errors import DataError

BINS = 10
"""Bins of equal width over (0, 1)."""
MAX_LOGIT = 30.0
"""Scaled logits are cut there, so that a score is strictly inside (0, 1)."""
_MOST_LOG_TEMPERATURE = 4.0


class Calibration(Record):
    """From a verifier's logit to a probability."""

    temperature: float = Field(default=1.0, gt=0)
    """Divides the logit."""
    shift: float = 0.0
    """Is added to it afterwards."""
    fitted_on: int = 0
    """Validation attempts it was fitted on; 0: not fitted."""

    def scores(self, logits: Sequence[float]) -> list[float]:
        """Probabilities, strictly between 0 and 1.

        Raises:
            ValueError: A logit is not finite.
        """
        z = np.asarray(logits, dtype=np.float64)
        if not np.isfinite(z).all():
            raise ValueError(f"{int((~np.isfinite(z)).sum())} of {len(z)} logits are not finite")
        scaled = np.clip(z / self.temperature + self.shift, -MAX_LOGIT, MAX_LOGIT)
        return [float(p) for p in 1.0 / (1.0 + np.exp(-scaled))]


@dataclass(frozen=True)
class Bin:
    """Attempts whose scores lie in one interval."""

    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""
    count: int
    """Attempts in it."""
    score: float
    """Their mean score; 0 for none."""
    right: float
    """Share of them that is right; 0 for none."""


def fit_calibration(logits: Sequence[float], correct: Sequence[bool]) -> Calibration:
    """Temperature and shift of highest likelihood.

    Raises:
        DataError: All right, all wrong or nothing: no scale can be fitted; with counts.
    """
    from scipy.optimize import minimize

    z, y = np.asarray(logits, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if not 0 < y.sum() < len(y):
        raise DataError(
            f"scores cannot be calibrated on {int(y.sum())} right of {len(y)} validation attempts",
            remedy="validate on tasks that the policy sometimes solves",
        )

    def loss(parameters: NDArray[np.float64]) -> float:
        scaled = z * np.exp(-parameters[0]) + parameters[1]
        return float((np.logaddexp(0.0, scaled) - y * scaled).mean())

    bounds = [(-_MOST_LOG_TEMPERATURE, _MOST_LOG_TEMPERATURE), (-MAX_LOGIT, MAX_LOGIT)]
    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=bounds)
    return Calibration(temperature=float(np.exp(found.x[0])), shift=float(found.x[1]), fitted_on=len(y))


def reliability(scores: Sequence[float], correct: Sequence[bool], *, bins: int = BINS) -> list[Bin]:
    """Mean score and share of right attempts in bins of equal width; empty bins are there with a count of 0."""
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    index = np.minimum((s * bins).astype(int), bins - 1)
    found = []
    for i in range(bins):
        inside = index == i
        count = int(inside.sum())
        score, right = (float(s[inside].mean()), float(y[inside].mean())) if count else (0.0, 0.0)
        found.append(Bin(i / bins, (i + 1) / bins, count, score, right))
    return found


def expected_calibration_error(scores: Sequence[float], correct: Sequence[bool], *, bins: int = BINS) -> float:
    """Mean gap between score and share of right attempts, weighted by the bins' attempts (Naeini et al. 2015).

    Raises:
        ValueError: No attempt.
    """
    if not len(scores):
        raise ValueError("no scores to calibrate")
    table = reliability(scores, correct, bins=bins)
    return sum(b.count * abs(b.score - b.right) for b in table) / len(scores)
