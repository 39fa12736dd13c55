"""Biostatistics over clinical tables that PyPI packages carry, and over planned studies; nothing to download."""

from copilot.envs.sources.biostat.source import SOURCE, BioStat

__all__ = ["SOURCE", "BioStat"]
