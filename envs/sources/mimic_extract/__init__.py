"""MIMIC-Extract: hourly tables and predictions from the first day in intensive care, by an own pipeline."""

from copilot.envs.sources.mimic_extract.source import SOURCE, MimicExtract

__all__ = ["SOURCE", "MimicExtract"]
