"""The version of med-copilot, and of the records it writes."""

__version__ = "0.1.0"

SCHEMA_VERSION = 1
"""Version of the trajectory and suite records; readers refuse others with a clear message."""
