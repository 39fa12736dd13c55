"""How much an episode repeats itself: the share of turns whose action an earlier turn had, in [0, 1]."""

from copilot.data.trajectory import Trajectory


def repeated(trajectory: Trajectory) -> float:
    """Share of turns that repeat an earlier action; give it a negative weight."""
    actions = [turn.action.model_dump_json() for turn in trajectory.turns]
    return (len(actions) - len(set(actions))) / max(1, len(actions))


TERM = repeated
