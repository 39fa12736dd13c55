"""MedAgentBench: tasks in a FHIR record, graded by answers and by what the server holds in the end."""

from copilot.envs.sources.medagentbench.source import SOURCE, MedAgentBench

__all__ = ["SOURCE", "MedAgentBench"]
