"""Percentile bootstrap intervals over tasks (Efron 1979, doi:10.1214/aos/1176344552).

Attempts at one task are not independent, tasks are: a task with all its attempts is what is drawn again. The same draws
serve every statistic of a call, so that differences and ratios of means are paired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 4000
"""Resamples."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Column means (D, C) of D resamples to a figure for each (D,)."""


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval over tasks."""

    value: float
    """On all tasks."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    tasks: int
    """Tasks it was computed on."""

    def as_dict(self) -> dict[str, float | int]:
        """As JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "tasks": self.tasks}

    def __str__(self) -> str:
        """``0.417 [0.332, 0.506]``."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def over_tasks(
    columns: Sequence[Sequence[float]], statistic: Statistic | None = None, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """A figure of task means, with its interval.

    Args:
        columns: C lists of one value per task, all in the same order.
        statistic: From column means to the figure; ``None``: the mean of the only column. May give NaN where it has no
            value (a ratio without a denominator); resamples with NaN are left out.
        draws: Resamples.
        seed: Of the draws.

    Raises:
        ValueError: No task, or columns of different lengths.
    """
    table_TC = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
    tasks = len(table_TC)
    if tasks == 0:
        raise ValueError("no tasks to resample")
    figure: Statistic = statistic or (lambda means: means[:, 0])
    picks_DT = np.random.default_rng(seed).integers(tasks, size=(draws, tasks))
    counts_DT = np.apply_along_axis(np.bincount, 1, picks_DT, minlength=tasks)
    resampled_D = figure(counts_DT @ table_TC / tasks)
    resampled_D = resampled_D[~np.isnan(resampled_D)]
    value = float(figure(table_TC.mean(axis=0, keepdims=True))[0])
    low, high = np.quantile(resampled_D, [0.025, 0.975]) if len(resampled_D) else (np.nan, np.nan)
    return Interval(value, float(low), float(high), tasks)
