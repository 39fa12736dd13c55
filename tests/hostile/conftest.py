"""Every backend that runs here, opened once; each hostile case is executed against each of them.

Run as root this covers the local wall as root; ``test_hostile_unprivileged.py`` runs the same files again as nobody.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.sandboxes import CellResult, SandboxBackend, SandboxConfig, SandboxLimits, SandboxSpec, make_backend
from copilot.errors import SandboxError

LIMITS = SandboxLimits(cell_seconds=8, memory_mb=256, processes=32, disk_mb=8, output_chars=2000)
PREAMBLE = '''
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, act):
    """Say whether an attack got through."""
    try:
        found = act()
    except Exception as error:
        print(f"{name}: denied {type(error).__name__} {error}")
    else:
        print(f"{name}: OPEN {found!r:.200}")

def syscall(number, *args):
    """A raw system call; raises OSError as the os module does."""
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in args))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
'''


class World:
    """A started backend and the loop it lives on."""

    def __init__(self, name: str, backend: SandboxBackend, loop: asyncio.AbstractEventLoop) -> None:
        self.name, self.backend, self.loop = name, backend, loop

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def cells(
        self, *codes: str, timeout: float | None = None, files: dict[str, Path] | None = None
    ) -> list[CellResult]:
        """Run cells in one fresh sandbox; a code that starts with ``!`` is a shell command."""

        async def go() -> list[CellResult]:
            spec = SandboxSpec(preamble=PREAMBLE, files=files or {})
            async with await self.backend.open(spec) as sandbox:
                return [
                    await (
                        sandbox.terminal(c[1:], timeout=timeout)
                        if c[:1] == "!"
                        else sandbox.execute(c, timeout=timeout)
                    )
                    for c in codes
                ]

        found: list[CellResult] = self.run(go())
        return found


def _config(name: str) -> SandboxConfig:
    if name == "local":
        return SandboxConfig(limits=LIMITS)
    return SandboxConfig(
        type="docker", require="container", limits=LIMITS, docker={"mode": name.removeprefix("docker-")}
    )


@pytest.fixture(scope="session", params=["local", "docker-single", "docker-shared"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    loop = asyncio.new_event_loop()
    config = _config(request.param)
    backend = make_backend(config)
    try:
        loop.run_until_complete(backend.start())
    except SandboxError as error:
        if config.type == "docker":
            pytest.skip(f"docker: {error.what}")
        raise
    yield World(request.param, backend, loop)
    loop.run_until_complete(backend.close())
    loop.close()
