"""BioCoder: bioinformatics functions by hidden inputs; the original's file, and look-alikes from installed packages."""

from copilot.envs.sources.biocoder.source import SOURCE, BioCoder

__all__ = ["SOURCE", "BioCoder"]
