"""Fairness and typed failures of the pool, on real episodes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from copilot.envs.sandboxes import CellResult, SandboxBackend, SandboxConfig, SandboxLimits, SandboxSpec, make_backend
from copilot.envs.sandboxes.pool import SandboxPool, Work
from copilot.errors import InfrastructureError


def with_backend(work: Callable[[SandboxBackend], Coroutine[Any, Any, Any]], **config: Any) -> Any:
    async def go() -> Any:
        backend = make_backend(SandboxConfig(**config))
        await backend.start()
        try:
            return await work(backend)
        finally:
            await backend.close()

    return asyncio.run(go())


def test_time_in_the_queue_does_not_count() -> None:
    """Six cells of 0.3 s on one slot take 1.8 s together, and none of them reaches its limit of 1 s."""

    async def work(backend: SandboxBackend) -> list[CellResult | InfrastructureError]:
        pool = SandboxPool(backend)
        held = [await pool.acquire(SandboxSpec()) for _ in range(6)]
        found = await pool.exec_many(Work(sandbox, "import time; time.sleep(0.3); 7", timeout=1.0) for sandbox in held)
        await pool.close()
        return found

    results = with_backend(work, slots=1)
    assert [result.stdout for result in results] == ["7\n"] * 6


def test_slots_bound_what_runs_at_once_in_order_of_asking() -> None:
    async def work(backend: SandboxBackend) -> list[int]:
        order: list[int] = []
        sandboxes = [await backend.open(SandboxSpec()) for _ in range(5)]

        async def cell(number: int) -> None:
            await sandboxes[number].execute("pass")
            order.append(number)

        await asyncio.gather(*(cell(number) for number in range(5)))
        return order

    assert with_backend(work, slots=1) == [0, 1, 2, 3, 4]


def test_the_models_failure_is_a_result_and_the_sandboxes_an_error() -> None:
    async def work(backend: SandboxBackend) -> list[CellResult | InfrastructureError]:
        pool = SandboxPool(backend)
        good, bad, gone = [await pool.acquire(SandboxSpec()) for _ in range(3)]
        await gone.close()
        return await pool.exec_many(
            [Work(good, "1"), Work(bad, "1/0"), Work(gone, "1"), Work(bad, "exit 4", kind="terminal")]
        )

    first, second, third, fourth = with_backend(work)
    assert (first.status, second.status, fourth.status) == ("ok", "error", "error")
    assert isinstance(third, InfrastructureError)


def test_the_number_of_live_episodes_is_bounded() -> None:
    async def work(backend: SandboxBackend) -> bool:
        pool = SandboxPool(backend, live=2)
        first, _ = await pool.acquire(SandboxSpec()), await pool.acquire(SandboxSpec())
        waiting = asyncio.create_task(pool.acquire(SandboxSpec()))
        await asyncio.sleep(0.2)
        blocked = not waiting.done()
        await pool.release(first)
        await pool.release(first)
        async with asyncio.timeout(60):
            await waiting
        await pool.close()
        return blocked

    assert with_backend(work)


def test_an_opening_that_fails_frees_its_place() -> None:
    async def work(backend: SandboxBackend) -> str:
        pool = SandboxPool(backend, live=1, attempts=2)
        with pytest.raises(InfrastructureError, match="ValueError"):
            await pool.acquire(SandboxSpec(preamble="raise ValueError"))
        async with pool.sandbox(SandboxSpec()) as sandbox:
            return (await sandbox.execute("'here'")).stdout

    assert with_backend(work, limits=SandboxLimits(memory_mb=256)) == "'here'\n"
