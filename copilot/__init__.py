"""med-copilot: train coding agents for biomedical data science.

Importing this package is cheap: everything heavy is loaded on first use. ``copilot.envs``, ``copilot.reward``
and ``copilot.data`` import nothing of the rest but ``copilot.errors``, ``copilot.config`` and
``copilot.version``, so that an environment container stays small.
"""

from typing import TYPE_CHECKING, Any

from copilot.version import __version__

if TYPE_CHECKING:
    from copilot.release.checkpoint import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Load the public functions on first use."""
    if name == "load":
        from copilot.release.checkpoint import load

        return load
    raise AttributeError(f"module 'copilot' has no attribute {name!r}")
