"""EHRSHOT: predictions from health records; the original where its user has it, a look-alike on the eICU demo."""

from copilot.envs.sources.ehrshot.source import SOURCE, EhrShot

__all__ = ["SOURCE", "EhrShot"]
