"""Whether two models differ on the same tasks: a paired sign-flip permutation test, corrected for many pairs.

Tasks are exchangeable, attempts at one task are not independent: the sign of a task's mean difference is what is
flipped. Holm's step-down correction (Holm 1979) keeps the chance of any false claim among all pairs at the level.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np

EXACT = 14
"""Up to so many tasks that differ, all sign patterns are enumerated."""
DRAWS = 20_000
"""Patterns drawn beyond."""


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p of a mean difference of zero; 1 when no task differs.

    Args:
        differences: One per task.
        seed: Of the drawn patterns.
    """
    d = np.array([value for value in differences if abs(value) > 1e-12])
    if not len(d):
        return 1.0
    observed = abs(d.sum()) - 1e-9
    if len(d) <= EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(d))))
        return float((np.abs(signs @ d) >= observed).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(DRAWS, len(d)))
    return float((1 + (np.abs(signs @ d) >= observed).sum()) / (1 + DRAWS))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted
