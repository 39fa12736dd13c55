"""Keep what comes from certain sources, splits, templates or policies."""

from typing import Literal

from pydantic import Field

from copilot.data.filters.base import SingleFilter
from copilot.data.trajectory import Trajectory


class OriginFilter(SingleFilter):
    """Keep trajectories by where they come from; an empty list keeps all."""

    type: Literal["origin"] = "origin"
    """Name of the filter."""
    sources: list[str] = Field(default=[])
    """Task sources to keep."""
    splits: list[str] = Field(default=[])
    """Splits to keep."""
    templates: list[str] = Field(default=[])
    """Question templates to keep."""
    policies: list[str] = Field(default=[])
    """Policy labels to keep."""

    def reason(self, trajectory: Trajectory) -> str:
        """See :meth:`SingleFilter.reason`."""
        wanted = {
            "source": (self.sources, trajectory.source),
            "split": (self.splits, trajectory.split),
            "template": (self.templates, trajectory.template),
            "policy": (self.policies, trajectory.policy),
        }
        return next((f"other {name}" for name, (keep, value) in wanted.items() if keep and value not in keep), "")


FILTER = OriginFilter
