"""Task sources, one module each; see :mod:`copilot.envs.sources.base` for the contract."""

from copilot.envs.sources.base import Source, get_source, source_names

__all__ = ["Source", "get_source", "source_names"]
