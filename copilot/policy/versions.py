"""A policy whose weights change while it serves: every turn is sampled by exactly one version, and says which.

A new adapter is loaded beside the old one; turns that begin from then on use it, turns under way finish with the one
they began with, and an old one is unloaded when its last turn is done. Every version is served under a name of its
own, so the engine's prefix cache never mixes two. Full weights have no room beside each other: turns under way are
waited for, new ones wait, and the engine forgets its prefixes.
"""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from copilot.policy.adapters import is_without_effect
from copilot.policy.base import Generation, GenerationRequest, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

_POLL = 0.01


class VersionedPolicy(Policy):
    """Wraps an engine.

    Args:
        engine: Serves adapters, or takes full weights; not started yet.
    """

    def __init__(self, engine: Policy) -> None:
        self._engine = engine
        self._served: dict[int, str | None] = {}
        self._in_flight: Counter[int] = Counter()
        self._open = asyncio.Event()
        self._asleep = False
        self.version = 0
        """The one that new turns use."""

    async def start(self) -> None:
        """Start the engine; it serves nothing until :meth:`publish`."""
        await self._engine.start()
        self.tokenizer, self.context_length = self._engine.tokenizer, self._engine.context_length
        self.label = self._engine.label

    async def publish(self, version: int, folder: str) -> None:
        """Serve the adapter in ``folder`` as ``version`` from now on.

        One that changes nothing yet (a new one) is served as the base model.

        Raises:
            ModelError, ServerError: The engine did not take it.
        """
        name = None if is_without_effect(Path(folder)) else f"v{version}"
        if name is not None:
            await self._engine.load_adapter(name, folder)
        self._served[version] = name
        self.version = version
        self._open.set()
        await self._retire()

    async def hold(self) -> None:
        """Let turns under way end and hold new ones back, until :meth:`serve` or :meth:`wake`."""
        self._open.clear()
        while self._in_flight.total():
            await asyncio.sleep(_POLL)

    async def load_weights(self, path: str) -> None:
        """Replace the full weights, between :meth:`hold` and :meth:`serve`."""
        await self._engine.load_weights(path)

    async def take_weights(self, tensors: "Mapping[str, Tensor]", gather: "Callable[[Tensor], Tensor]") -> None:
        """Replace the full weights, between :meth:`hold` and :meth:`serve`."""
        await self._engine.take_weights(tensors, gather)

    async def serve(self, version: int) -> None:
        """The full weights have been replaced: go on, and call them ``version``."""
        self._served = {version: None}
        self.version = version
        self._open.set()

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn with the newest version; ``policy_version`` ends in ``@vN``."""
        await self._open.wait()
        version = self.version
        self._in_flight[version] += 1
        try:
            generation = await self._engine.generate(replace(request, adapter=self._served[version]))
        finally:
            self._in_flight[version] -= 1
            await self._retire()
        return replace(generation, policy_version=f"{self.label}@v{version}")

    async def sleep(self) -> None:
        """Let turns under way end, hold new ones back, and have the engine give its device back."""
        await self.hold()
        await self._engine.sleep()
        self._asleep = True

    async def wake(self) -> None:
        """Go on, when asleep."""
        if self._asleep:
            await self._engine.wake()
            self._asleep = False
            self._open.set()

    @property
    def loaded(self) -> list[int]:
        """Versions the engine holds."""
        return sorted(self._served)

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    async def _retire(self) -> None:
        for version in [v for v in self._served if v != self.version and not self._in_flight[v]]:
            name = self._served.pop(version)
            if name is not None:
                await self._engine.unload_adapter(name)
