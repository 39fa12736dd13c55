"""How many messages an episode took, beyond the first. Give it a small negative weight to pay for haste."""

from copilot.data.trajectory import Trajectory


def extra_turns(trajectory: Trajectory) -> float:
    """Turns beyond the first."""
    return float(max(0, len(trajectory.turns) - 1))


TERM = extra_turns
