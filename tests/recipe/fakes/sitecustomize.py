"""Puts the test stages beside the real ones, also in the processes a recipe starts (by PYTHONPATH)."""

from pathlib import Path

import copilot.stages

copilot.stages.__path__.append(str(Path(__file__).parent / "stages"))
