"""Where model-written code runs; see :mod:`copilot.envs.sandboxes.base` for the contract."""

from copilot.envs.sandboxes.base import (
    CellResult,
    DockerConfig,
    Isolation,
    Sandbox,
    SandboxBackend,
    SandboxConfig,
    SandboxLimits,
    SandboxSpec,
    make_backend,
)

__all__ = [
    "CellResult",
    "DockerConfig",
    "Isolation",
    "Sandbox",
    "SandboxBackend",
    "SandboxConfig",
    "SandboxLimits",
    "SandboxSpec",
    "make_backend",
]
