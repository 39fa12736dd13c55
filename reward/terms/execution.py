"""Whether code runs: the share of executed cells and commands that ended without an error, in [0, 1]; 0 without any."""

from copilot.data.trajectory import Trajectory


def ran_through(trajectory: Trajectory) -> float:
    """Share of cells and commands that ran through."""
    ran = [turn for turn in trajectory.turns if turn.action.type in ("execute_code", "terminal")]
    return sum(not turn.failed for turn in ran) / len(ran) if ran else 0.0


TERM = ran_through
