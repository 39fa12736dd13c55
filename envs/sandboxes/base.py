"""The contract between episodes and the place where model-written code runs.

A backend (``local``, ``docker``) opens sandboxes; a sandbox is one episode's world: cells of Python that share
state, shell commands, JSON values out. What comes out is hostile data. A failure of the *code* is a
:class:`CellResult`; a failure of the *sandbox* raises :class:`copilot.errors.InfrastructureError`.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue

from copilot.config import Record, StrictModel


def file_name(name: str) -> str:
    """``name``, if it is one that a folder can have.

    Raises:
        ValueError: It is empty, leads elsewhere, or is too long.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode("utf-8", "replace")) > 255:
        raise ValueError(f"not a file name: {name!r:.80}")
    return name


FileName = Annotated[str, AfterValidator(file_name)]


class SandboxLimits(StrictModel):
    """Caps on one episode's code."""

    cell_seconds: float = 30.0
    """Wall time of a cell or command, in seconds; queue time does not count."""
    memory_mb: int = 1024
    """Memory of the whole episode, in MiB."""
    processes: int = 64
    """Processes and threads of the episode."""
    disk_mb: int = 64
    """Writable space (a tmpfs), in MiB."""
    output_chars: int = 20_000
    """Characters kept of each of stdout and stderr: head and tail, with a note between."""


class SandboxSpec(Record):
    """What one episode's sandbox is opened with."""

    files: dict[FileName, Path] = Field(default_factory=dict)
    """Host files mounted read-only under ``/data``, by name."""
    writable: tuple[FileName, ...] = ()
    """Names of ``files`` (a database that the task writes) of which the working directory gets a copy."""
    preamble: str = ""
    """Python run before the first cell; a failure of it is an infrastructure failure."""
    seed: int = 0
    """Seed of the episode's ``random`` and ``numpy.random``."""


class CellResult(Record):
    """How a cell or command ended."""

    status: Literal["ok", "error", "timeout", "memory", "crashed"]
    """``error``: an exception or non-zero exit; ``crashed``: the interpreter died."""
    stdout: str = ""
    """Head and tail of what it printed (the value of a last expression included, as in a notebook)."""
    stderr: str = ""
    """Head and tail of its standard error; for ``error`` it ends with the traceback of the cell's own frames."""
    error_type: str = ""
    """Class name of the exception."""
    error_message: str = ""
    """Text of the exception."""
    error_line: int | None = None
    """Line of the cell at which it was raised, from 1."""
    seconds: float = 0.0
    """Wall time of the cell."""
    truncated_chars: int = 0
    """Characters that the output caps left out."""
    state_lost: bool = False
    """Whether variables of earlier cells are gone (after a kill)."""


class Isolation(Record):
    """What a backend really isolates here, measured at start and never assumed."""

    backend: str
    """``local`` or ``docker``."""
    level: Literal["none", "limits", "namespaces", "container"]
    """``limits``: rlimits and seccomp only; ``namespaces``: own user, mount, pid, net, ipc, uts."""
    properties: dict[str, str] = Field(default_factory=dict)
    """Property by property (``network``, ``filesystem``, ``pids``, ``memory`` ...): how it is reached, or why not."""


LEVELS = ("none", "limits", "namespaces", "container")
"""Isolation levels, weakest first."""


class Sandbox(ABC):
    """One episode's world; an async context manager that leaves nothing behind."""

    @abstractmethod
    async def execute(self, code: str, *, timeout: float | None = None) -> CellResult:
        """Run a cell of Python; state lives on. ``timeout`` in seconds, at most the limit."""

    @abstractmethod
    async def terminal(self, cmd: str, *, timeout: float | None = None) -> CellResult:
        """Run a shell command in the episode's working directory."""

    @abstractmethod
    async def value(self, name: str) -> JsonValue:
        """The JSON value of a variable (numpy, pandas, dates, NaN converted; depth and size limited).

        Raises:
            KeyError: No such variable.
            ValueError: The value has no JSON form within the limits.
        """

    @abstractmethod
    async def put(self, name: str, data: bytes) -> None:
        """Write a file of the working directory, as the episode's code itself would.

        Raises:
            ValueError: ``name`` is not a plain file name, or the episode's limits or code refused it.
        """

    @abstractmethod
    async def reset(self) -> None:
        """Back to the start: no process, variable or file of the episode's code is left.

        Raises:
            InfrastructureError: That failed; the sandbox is of no more use.
        """

    @abstractmethod
    async def close(self) -> None:
        """Kill everything; idempotent."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class SandboxBackend(ABC):
    """A source of sandboxes; start once, open many, close once."""

    @abstractmethod
    async def start(self) -> Isolation:
        """Bring it up and report the isolation reached.

        Raises:
            SandboxError: It cannot start here, or not at the level that ``require`` asks for.
        """

    @abstractmethod
    async def open(self, spec: SandboxSpec) -> Sandbox:
        """A fresh sandbox.

        Raises:
            InfrastructureError: None could be had; the sample is masked.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close all sandboxes and the backend; idempotent, leaves no process, mount or file."""


class DockerConfig(StrictModel):
    """What only the ``docker`` backend reads."""

    mode: Literal["single", "shared"] = "single"
    """One container per episode, or several namespaced episodes per container."""
    image: str = "med-copilot-sandbox"
    """Image, as ``med-copilot sandbox build-image`` makes it."""
    runtime: str = ""
    """OCI runtime such as ``runsc``; empty: the engine's default."""
    hosts: tuple[str, ...] = ()
    """Engines to spread over, as in DOCKER_HOST; empty: the one DOCKER_HOST names, or the local one."""
    warm: int = 4
    """Containers kept ready per engine (``single``), or containers in use (``shared``)."""


class SandboxConfig(StrictModel):
    """The ``sandbox:`` section of a recipe."""

    type: Literal["local", "docker"] = "local"
    """Backend."""
    require: Literal["none", "limits", "namespaces", "container"] = "namespaces"
    """Weakest isolation with which to go on."""
    limits: SandboxLimits = Field(default_factory=SandboxLimits)
    """Caps per episode."""
    slots: int = 0
    """Cells that run at the same time, first come first served; 0: one per processor, at least two."""
    docker: DockerConfig = Field(default_factory=DockerConfig)
    """The ``docker`` backend's own settings."""


def make_backend(config: SandboxConfig) -> SandboxBackend:
    """The backend a recipe asks for; loads its module only."""
    import importlib

    module = importlib.import_module(f"copilot.envs.sandboxes.{config.type}")
    backend: SandboxBackend = module.Backend(config)
    return backend
