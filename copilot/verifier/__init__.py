"""The outcome verifier: trained on whole trajectories, it says how likely one is right; metrics, scorers, uses.

``make_scorer(folder, engine_config, log_folder=...)`` gives a :class:`Scorer`; ``await scorer.score(trajectories)``
a number strictly between 0 and 1 for each. Metrics and selectors are pure functions in modules of their own.
"""

from copilot.verifier.base import Scorer
from copilot.verifier.calibration import Calibration
from copilot.verifier.config import VerifierInfo, VerifierSettings, read_info
from copilot.verifier.factory import ScorerConfig, make_scorer

__all__ = [
    "Calibration",
    "Scorer",
    "ScorerConfig",
    "VerifierInfo",
    "VerifierSettings",
    "make_scorer",
    "read_info",
]
