"""Recipe stages, one module each; see :mod:`copilot.stages.base` for the contract."""

from copilot.stages.base import Stage, StageConfig, StageContext, get_stage, stage_types

__all__ = ["Stage", "StageConfig", "StageContext", "get_stage", "stage_types"]
