"""Power and sample-size questions in the form of N-PowerAI, from an own generator with many templates."""

from copilot.envs.sources.npowerai.source import SOURCE, NPowerAI

__all__ = ["SOURCE", "NPowerAI"]
