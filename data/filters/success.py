"""Keep what was solved; the paper's only filter."""

from typing import Literal

from copilot.data.filters.base import SingleFilter
from copilot.data.trajectory import SuccessRule, Trajectory


class SuccessFilter(SingleFilter):
    """Keep successful trajectories."""

    type: Literal["success"] = "success"
    """Name of the filter."""
    rule: SuccessRule = "submitted"
    """``submitted``: the submitted answer was right; ``any_attempt``: some turn's answer was (the paper's rule)."""

    def reason(self, trajectory: Trajectory) -> str:
        """See :meth:`SingleFilter.reason`."""
        return "" if trajectory.success(self.rule) else f"not {self.rule} correct"


FILTER = SuccessFilter
