"""Drop episodes stuck in a loop: half of all failures in the paper's own count (its section on error types)."""

from itertools import groupby
from typing import Literal

from pydantic import Field

from copilot.data.filters.base import SingleFilter
from copilot.data.trajectory import Trajectory


class ErrorLoopsFilter(SingleFilter):
    """Drop trajectories that repeat a failing action."""

    type: Literal["error_loops"] = "error_loops"
    """Name of the filter."""
    repeats: int = Field(default=2, ge=2)
    """So many equal failing actions in a row are a loop."""

    def reason(self, trajectory: Trajectory) -> str:
        """See :meth:`SingleFilter.reason`."""
        steps = ((turn.action.model_dump_json(), turn.failed) for turn in trajectory.turns)
        longest = max((len(list(run)) for (_, failed), run in groupby(steps) if failed), default=0)
        return "error loop" if longest >= self.repeats else ""


FILTER = ErrorLoopsFilter
