"""One container and the frames on its attached stream; its episodes are sessions like any other.

The stream is attached before the container starts, so that nothing is lost and the container ends when this process
does, whatever ends it: its input then closes. No command is ever executed in a running container.
"""

import asyncio
import base64
import hashlib
import itertools
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from copilot.envs.sandboxes.base import SandboxLimits, SandboxSpec
from copilot.envs.sandboxes.connection import Connection
from copilot.envs.sandboxes.inside.frames import Frame
from copilot.envs.sandboxes.session import Session
from copilot.errors import InfrastructureError

START = 120.0
"""Seconds a container may take until its libraries are loaded."""
_CHUNK = 1 << 20

OnClose = Callable[[int], Awaitable[None]]
"""What ends an episode, by its number."""


class Demultiplexer:
    """Takes Docker's stream headers off: what the container wrote to standard output, in order."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.log = bytearray()

    def __call__(self, data: bytes) -> bytes:
        """Add raw bytes; returns the bytes of standard output they complete."""
        self._data += data
        out = bytearray()
        while len(self._data) >= 8:
            kind, length = struct.unpack_from(">BxxxI", self._data)
            if len(self._data) < 8 + length:
                break
            (out if kind == 1 else self.log).extend(self._data[8 : 8 + length])
            del self._data[: 8 + length]
        del self.log[:-4000]
        return bytes(out)


class Container:
    """A started sandbox container.

    Args:
        handle: The SDK's container.
        sock: The attached stream.
        limits: Caps per episode.
        slots: Shared by all episodes of the backend.
    """

    def __init__(self, handle: Any, sock: socket.socket, limits: SandboxLimits, slots: asyncio.Semaphore) -> None:
        self.handle, self._limits, self._slots = handle, limits, slots
        self._demultiplexer = Demultiplexer()
        self._link = Connection(sock, self._receive, unwrap=self._demultiplexer)
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stored: dict[str, asyncio.Future[None]] = {}
        self._ended: dict[int, asyncio.Future[None]] = {}
        self._spare: Session | None = None
        self._on_close: dict[int, OnClose] = {}
        self.sessions: dict[int, Session] = {}
        self._names = itertools.count(1)
        self.failure = ""

    async def ready(self, config: Frame) -> None:
        """Send the configuration and wait until episodes can be opened.

        Raises:
            InfrastructureError: It did not start; the message carries its log.
        """
        self._link.send(config)
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), START)
        except TimeoutError as error:
            raise InfrastructureError("sandbox", "the container did not get ready") from error

    async def fork_ahead(self) -> None:
        """Fork the only episode of the container before its task is known: opening it is then a message."""
        self._spare = await self._fork(SandboxSpec(), {}, None)

    async def open(self, spec: SandboxSpec, *, on_close: OnClose) -> Session:
        """An episode in the container: the one forked ahead, or a new one.

        Args:
            spec: Files, preamble, seed.
            on_close: Called with the episode's number when it is closed.

        Raises:
            InfrastructureError: The container is gone, or the preamble failed.
        """
        keys = {name: await self._store(path) for name, path in spec.files.items()}
        if self.failure:
            raise InfrastructureError("sandbox", self.failure)
        session, self._spare = self._spare, None
        if session is None:
            return await self._fork(spec, keys, on_close)
        self._on_close[session.number] = on_close
        try:
            self._send("place", {"files": keys})
            await session.begin(spec)
        except BaseException:
            await session.close()
            raise
        return session

    async def _fork(self, spec: SandboxSpec, keys: dict[str, str], on_close: OnClose | None) -> Session:
        name = next(self._names)
        if on_close is not None:
            self._on_close[name] = on_close

        async def kill() -> None:
            self.sessions.pop(name, None)
            if name in self._on_close:
                await self._on_close.pop(name)(name)

        session = Session(lambda frame: self._send(name, frame), kill, self._limits, self._slots)
        session.number = name
        self.sessions[name] = session
        self._ended[name] = asyncio.get_running_loop().create_future()
        limits = self._limits.model_dump()
        request = {
            "op": "spawn",
            "id": name,
            "limits": limits,
            "seed": spec.seed,
            "preamble": spec.preamble,
            "writable": spec.writable,
            "files": keys,
        }
        try:
            self._send("zygote", request)
            await session.ready()
        except BaseException:
            await session.close()
            raise
        return session

    async def end(self, number: int) -> None:
        """Kill one episode of a shared container and wait until it is buried."""
        ended = self._ended.get(number)
        if ended is not None and not self.failure:
            self._send("zygote", {"op": "kill", "id": number})
            await asyncio.wait([ended], timeout=START)

    def detach(self) -> None:
        """Close the stream, at which the container ends."""
        self._fail("the container is closed")
        self._link.close()

    def _send(self, to: str | int, frame: Frame) -> None:
        self._link.send({"to": to, "frame": frame})

    async def _store(self, path: Path) -> str:
        """Bring a task file into the container, once per version of it."""
        try:
            facts = path.stat()
            version = (str(path.resolve()), facts.st_ino, facts.st_mtime_ns, facts.st_size)
            key = hashlib.sha256(repr(version).encode()).hexdigest()[:24]
            if key not in self._stored:
                self._stored[key] = asyncio.get_running_loop().create_future()
                with path.open("rb") as file:
                    last = False
                    while not last:
                        chunk = file.read(_CHUNK)
                        last = len(chunk) < _CHUNK
                        self._send("put", {"key": key, "data": base64.b64encode(chunk).decode(), "last": last})
                        await asyncio.sleep(0)
        except OSError as error:
            raise InfrastructureError("sandbox", f"task file {path}: {error}") from error
        await asyncio.shield(self._stored[key])
        return key

    def _receive(self, message: Frame | None) -> None:
        if message is None:
            log = self._demultiplexer.log.decode(errors="replace").strip()
            self._fail(f"the container ended: {log}" if log else "the container ended")
            return
        source, frame = message.get("from"), message.get("frame")
        if isinstance(source, int):
            session = self.sessions.get(source)
            if session is not None:
                session.receive(frame)
        elif frame is None:
            self._fail(f"the container's {source} ended")
        elif frame["op"] == "ready":
            self._ready.set_result(None)
        elif frame["op"] == "stored":
            self._stored[frame["key"]].set_result(None)
        elif frame["op"] == "ended":
            self._ended.pop(frame["id"]).set_result(None)
        elif frame["op"] == "refused":
            self._fail(str(frame["message"]))

    def _fail(self, message: str) -> None:
        if self.failure:
            return
        self.failure = message
        for future in (self._ready, *self._stored.values(), *self._ended.values()):
            if not future.done():
                future.set_exception(InfrastructureError("sandbox", message))
                future.exception()
        for session in list(self.sessions.values()):
            session.receive({"op": "failed", "message": message})
