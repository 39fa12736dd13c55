"""Keep what fits: tokens of the longest training row, and turns."""

from typing import Literal

from pydantic import PositiveInt

from copilot.data.filters.base import SingleFilter
from copilot.data.trajectory import Trajectory


class LengthFilter(SingleFilter):
    """Drop trajectories that are too long."""

    type: Literal["length"] = "length"
    """Name of the filter."""
    max_tokens: PositiveInt | None = None
    """Tokens of the longest training row, prompt included."""
    max_turns: PositiveInt | None = None
    """Turns of the episode."""

    def reason(self, trajectory: Trajectory) -> str:
        """See :meth:`SingleFilter.reason`."""
        tokens = max((len(row.ids) for row in trajectory.rows), default=0)
        if self.max_tokens is not None and tokens > self.max_tokens:
            return "too many tokens"
        if self.max_turns is not None and len(trajectory.turns) > self.max_turns:
            return "too many turns"
        return ""


FILTER = LengthFilter
