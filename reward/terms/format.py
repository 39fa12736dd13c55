"""How well the protocol is spoken: the share of messages that were permitted actions, in [0, 1]."""

from copilot.data.trajectory import Trajectory


def well_formed(trajectory: Trajectory) -> float:
    """Share of turns that were an action."""
    return sum(turn.action.type != "invalid" for turn in trajectory.turns) / max(1, len(trajectory.turns))


TERM = well_formed
