"""Trajectories: their schema and store, filters, and the builders of SFT, DPO, KTO and verifier datasets.

What is read most is here; the builders lie in :mod:`copilot.data.dataset`, exports in :mod:`copilot.data.export`.
"""

from copilot.data.store import StoreReport, TrajectoryWriter, finished_keys, read_trajectories
from copilot.data.trajectory import Outcome, StopReason, TokenRow, Trajectory, Turn, TurnSpan

__all__ = [
    "Outcome",
    "StopReason",
    "StoreReport",
    "TokenRow",
    "Trajectory",
    "TrajectoryWriter",
    "Turn",
    "TurnSpan",
    "finished_keys",
    "read_trajectories",
]
