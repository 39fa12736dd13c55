"""BioDSBench: analyses of cancer studies whose asserts are evaluated over returned values."""

from copilot.envs.sources.biodsbench.source import SOURCE, BioDSBench

__all__ = ["SOURCE", "BioDSBench"]
