"""The contract of a trajectory filter: a pure verdict per trajectory, with the reason in a word or two.

A filter is one file in this folder with a module-level ``FILTER``, a config class with a ``type`` literal. Invariant:
a filter changes nothing and forgets nothing; what it drops is counted under its reason, never lost silently.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from copilot.config import StrictModel
from copilot.data.trajectory import Trajectory


class Filter(StrictModel, ABC):
    """Decides which trajectories are trained on."""

    @abstractmethod
    def judge(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """For each trajectory, in order: why it is dropped, or ``""`` to keep it."""


class SingleFilter(Filter):
    """A filter that looks at one trajectory at a time."""

    @abstractmethod
    def reason(self, trajectory: Trajectory) -> str:
        """Why ``trajectory`` is dropped; ``""`` keeps it."""

    def judge(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """See :meth:`Filter.judge`."""
        return [self.reason(trajectory) for trajectory in trajectories]
