"""Whether the submitted answer was right: 1 or 0. The honest success; attempts that were not handed in earn nothing."""

from copilot.data.trajectory import Trajectory


def answer(trajectory: Trajectory) -> float:
    """1 for a right submission."""
    return float(trajectory.outcome.submitted_correct)


TERM = answer
