"""Keep one of equal solutions: equal actions are equal up to white space, whatever the text around them.

Decision: *exact* compares attempts at one task; *near* compares all tasks of a question template, where the same
actions mean that the same answer was given to another question (copied values, or a constant).
"""

import re
from collections.abc import Sequence
from typing import Literal

from copilot.data.filters.base import Filter
from copilot.data.trajectory import Trajectory


class DuplicatesFilter(Filter):
    """Drop trajectories whose actions repeat those of an earlier one."""

    type: Literal["duplicates"] = "duplicates"
    """Name of the filter."""
    near: bool = False
    """Also drop repeats within a question template (source and template), not only within a task; where all tasks of a
    template have the same right actions (unanswerable questions), one of them is left."""

    def judge(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """See :meth:`Filter.judge`; the first of equals stays."""
        by_task: set[tuple[str, ...]] = set()
        by_template: set[tuple[str, ...]] = set()
        verdicts = []
        for trajectory in trajectories:
            actions = actions_text(trajectory)
            exact = (trajectory.task_id, actions)
            template = (trajectory.source, trajectory.template, actions)
            if exact in by_task:
                verdicts.append("exact duplicate")
            elif self.near and trajectory.template and template in by_template:
                verdicts.append("near duplicate")
            else:
                verdicts.append("")
                by_task.add(exact)
                by_template.add(template)
        return verdicts


def actions_text(trajectory: Trajectory) -> str:
    """All actions of a trajectory as one text, white space folded."""
    fields = (f"{name}={value}" for turn in trajectory.turns for name, value in turn.action.model_dump().items())
    return re.sub(r"\s+", " ", " ".join(fields))


FILTER = DuplicatesFilter
