"""Many episodes at once: acquire, run cells in parallel, release; the model's failures and the machine's kept apart.

A cell's deadline starts when it gets a processor slot, so a busy machine makes nobody time out. Slots are served in
the order of asking. A failure of the model's code is a :class:`CellResult`; a failure of the sandbox is an
:class:`~copilot.errors.InfrastructureError`, whose sample is masked and may be tried again elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from copilot.envs.sandboxes.base import CellResult, Sandbox, SandboxBackend, SandboxSpec
from copilot.errors import InfrastructureError


@dataclass(frozen=True)
class Work:
    """One cell or command for one sandbox."""

    sandbox: Sandbox
    code: str
    kind: Literal["execute", "terminal"] = "execute"
    timeout: float | None = None


class SandboxPool:
    """Episodes of one backend, bounded in number.

    Args:
        backend: A started backend.
        live: Episodes open at the same time; further ones wait.
        attempts: Openings tried before an infrastructure failure is passed on.
    """

    def __init__(self, backend: SandboxBackend, *, live: int = 256, attempts: int = 2) -> None:
        self._backend, self._attempts = backend, attempts
        self._live = asyncio.Semaphore(live)
        self._held: set[Sandbox] = set()

    async def acquire(self, spec: SandboxSpec) -> Sandbox:
        """A fresh sandbox, as soon as fewer than ``live`` are held.

        Raises:
            InfrastructureError: None could be had in ``attempts`` tries.
        """
        await self._live.acquire()
        for attempt in range(1, self._attempts + 1):
            try:
                sandbox = await self._backend.open(spec)
            except InfrastructureError:
                if attempt == self._attempts:
                    self._live.release()
                    raise
            except BaseException:
                self._live.release()
                raise
            else:
                break
        self._held.add(sandbox)
        return sandbox

    async def release(self, sandbox: Sandbox) -> None:
        """Kill everything in the sandbox and free its place; idempotent."""
        if sandbox in self._held:
            self._held.discard(sandbox)
            try:
                await sandbox.close()
            finally:
                self._live.release()

    @asynccontextmanager
    async def sandbox(self, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
        """Acquire for the length of a block."""
        sandbox = await self.acquire(spec)
        try:
            yield sandbox
        finally:
            await self.release(sandbox)

    async def exec(self, work: Work) -> CellResult:
        """Run one cell or command.

        Raises:
            InfrastructureError: The sandbox failed, not the code.
        """
        run = work.sandbox.execute if work.kind == "execute" else work.sandbox.terminal
        return await run(work.code, timeout=work.timeout)

    async def exec_many(self, works: Iterable[Work]) -> list[CellResult | InfrastructureError]:
        """Run a step's cells in parallel; a sandbox's failure takes its own place in the list and no other."""

        async def one(work: Work) -> CellResult | InfrastructureError:
            try:
                return await self.exec(work)
            except InfrastructureError as error:
                return error

        return list(await asyncio.gather(*(one(work) for work in works)))

    async def close(self) -> None:
        """Release all that is held; the backend stays open."""
        await asyncio.gather(*(self.release(sandbox) for sandbox in list(self._held)))
