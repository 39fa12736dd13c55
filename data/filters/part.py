"""Keep one part of the tasks: two data sets of the same stores that share no task (training and validation)."""

import hashlib
from typing import Literal

from pydantic import Field

from copilot.data.filters.base import SingleFilter
from copilot.data.trajectory import Trajectory


class PartFilter(SingleFilter):
    """Keep trajectories by their task, whichever store, policy or attempt they are."""

    type: Literal["part"] = "part"
    """Name of the filter."""
    part: Literal["train", "validation"] = "train"
    """Which part to keep."""
    share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the tasks that are validation; the same in both builds."""

    def reason(self, trajectory: Trajectory) -> str:
        """See :meth:`SingleFilter.reason`; a task's part depends on its id alone."""
        number = int.from_bytes(hashlib.sha256(trajectory.task_id.encode()).digest()[:8], "big") / 2**64
        return "" if (number < self.share) == (self.part == "validation") else "other part"


FILTER = PartFilter
