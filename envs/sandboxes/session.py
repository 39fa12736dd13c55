"""The host's end of an episode: requests out, checked replies in, over any link that carries frames.

What arrives was written by a supervisor that reads hostile data; types are checked again here. One request is in
flight at a time. A request that is cancelled, or not answered well past its deadline, ends the episode: an
interpreter in an unknown state is never used again.
"""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable

from pydantic import JsonValue, ValidationError

from copilot.envs.sandboxes.base import CellResult, Sandbox, SandboxLimits, SandboxSpec, file_name
from copilot.envs.sandboxes.inside.frames import Frame
from copilot.errors import InfrastructureError

SLACK = 10.0
"""Seconds a reply may come after its deadline before the sandbox is given up."""
START = 90.0
"""Seconds an episode may take to say hello, its preamble included."""
_PIECE = 2 << 20


class Session(Sandbox):
    """An open episode.

    Args:
        send: Puts a frame on the link; raises ``OSError`` when the link is gone.
        kill: Ends the episode's processes and returns when they are buried.
        limits: Caps of the episode.
        slots: Shared by a backend's episodes; a request waits for one before its deadline starts to run.
    """

    def __init__(
        self,
        send: Callable[[Frame], None],
        kill: Callable[[], Awaitable[None]],
        limits: SandboxLimits,
        slots: asyncio.Semaphore,
    ) -> None:
        self._send, self._kill, self._limits, self._slots = send, kill, limits, slots
        self._lock = asyncio.Lock()
        self._reply: asyncio.Future[Frame] | None = None
        self._loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[Frame] = self._loop.create_future()
        self._overdue = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._serial, self._cells = int.from_bytes(os.urandom(6), "big"), 0
        self.number = 0
        self._broken = ""
        self._closed: asyncio.Future[None] | None = None

    def receive(self, frame: Frame | None) -> None:
        """What the link delivers; ``None`` at its end."""
        if frame is None or frame.get("op") == "failed":
            self._broken = self._broken or (str(frame["message"]) if frame else "the sandbox ended unexpectedly")
            for future in (self._hello, self._reply):
                if future is not None and not future.done():
                    future.set_exception(InfrastructureError("sandbox", self._broken))
                    future.exception()  # read once: an episode closed before it was used is no warning
        elif frame.get("op") == "hello" and not self._hello.done():
            self._hello.set_result(frame)
        elif self._reply is not None and frame.get("id") == self._serial and not self._reply.done():
            self._reply.set_result(frame)

    async def ready(self) -> None:
        """Wait for the episode's hello.

        Raises:
            InfrastructureError: It did not come, or the preamble failed.
        """
        try:
            await asyncio.wait_for(asyncio.shield(self._hello), START)
        except TimeoutError as error:
            raise InfrastructureError("sandbox", f"no hello within {START:.0f} s") from error

    async def begin(self, spec: SandboxSpec) -> None:
        """Tell an episode that was forked ahead what it is for.

        Raises:
            InfrastructureError: The preamble failed.
        """
        known = {"seed": spec.seed, "preamble": spec.preamble, "writable": spec.writable}
        reply = await self._request({"op": "begin", **known, "seconds": START})
        if reply.get("status") != "ok":
            raise InfrastructureError("sandbox", str(reply.get("message")))

    async def execute(self, code: str, *, timeout: float | None = None) -> CellResult:
        """Run a cell."""
        return await self._run("exec", code, timeout)

    async def terminal(self, cmd: str, *, timeout: float | None = None) -> CellResult:
        """Run a shell command."""
        return await self._run("terminal", cmd, timeout)

    async def value(self, name: str) -> JsonValue:
        """The JSON value of a variable."""
        reply = await self._request({"op": "get", "name": name, "seconds": self._limits.cell_seconds})
        if reply.get("status") == "missing":
            raise KeyError(name)
        if reply.get("status") != "ok":
            raise ValueError(f"{name}: {reply.get('message')}")
        value: JsonValue = reply.get("value")
        return value

    async def put(self, name: str, data: bytes) -> None:
        """Write a file of the working directory, in pieces."""
        request = {"op": "put", "name": file_name(name), "seconds": self._limits.cell_seconds}
        for start in range(0, max(1, len(data)), _PIECE):
            piece = base64.b64encode(data[start : start + _PIECE]).decode()
            reply = await self._request({**request, "data": piece, "more": start > 0})
            if reply.get("status") != "ok":
                raise ValueError(f"{name}: {reply.get('message')}")

    async def reset(self) -> None:
        """Kill all processes, empty the working directory, start afresh."""
        reply = await self._request({"op": "reset", "seconds": START})
        if reply.get("status") != "ok":
            await self.close()
            raise InfrastructureError("sandbox", f"no reset: {reply.get('message')}")

    async def _run(self, kind: str, code: str, timeout: float | None) -> CellResult:
        seconds = min(timeout or self._limits.cell_seconds, self._limits.cell_seconds)
        code = code.encode("utf-8", "replace").decode()
        self._cells += kind == "exec"
        frame = {"op": kind, "code": code, "cell": f"<cell {self._cells}>", "seconds": seconds}
        return to_result(await self._request(frame))

    async def _request(self, frame: Frame) -> Frame:
        async with self._lock, self._slots:
            if self._closed is not None or self._broken:
                raise InfrastructureError("sandbox", self._broken or "the sandbox is closed")
            self._serial += 1
            frame["id"] = self._serial
            self._reply = reply = self._loop.create_future()
            try:
                self._send(frame)
                self._overdue = self._loop.time() + frame["seconds"] + SLACK
                if self._watch is None:
                    self._watch = self._loop.call_at(self._overdue, self._give_up)
                answer: Frame = await reply
                return answer
            except OSError as error:
                self._broken = f"no answer: {error}"
                await self.close()
                raise InfrastructureError("sandbox", self._broken) from error
            except asyncio.CancelledError:
                self._broken = "a request was cancelled"
                await self.close()
                raise
            finally:
                self._reply = None

    def _give_up(self) -> None:
        """End the episode if its request is overdue; one timer serves many requests, so it may come too early."""
        self._watch = None
        if self._reply is not None and self._loop.time() < self._overdue:
            self._watch = self._loop.call_at(self._overdue, self._give_up)
        elif self._reply is not None:
            self.receive({"op": "failed", "message": "no answer long after the deadline"})

    async def close(self) -> None:
        """Kill everything; idempotent, and safe while a request is in flight."""
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
            self.receive(None)
            if self._watch is not None:
                self._watch.cancel()
            try:
                await self._kill()
            finally:
                self._closed.set_result(None)
        else:
            await asyncio.shield(self._closed)


def make_slots(asked: int) -> asyncio.Semaphore:
    """As many slots as asked for, or one per processor this process may use, at least two."""
    return asyncio.Semaphore(asked or max(2, len(os.sched_getaffinity(0))))


def to_result(reply: Frame) -> CellResult:
    """A supervisor's reply as a record.

    Raises:
        InfrastructureError: It has not the form of one.
    """
    try:
        return CellResult(
            status=reply["status"],
            stdout=_clean(reply["out"]),
            stderr=_clean(reply["err"]),
            error_type=_clean(reply.get("type", "")),
            error_message=_clean(reply.get("message", "")),
            error_line=reply.get("line"),
            seconds=reply["seconds"],
            truncated_chars=reply["cut"],
            state_lost=reply["lost"],
        )
    except (KeyError, AttributeError, ValidationError) as error:
        raise InfrastructureError("sandbox", f"malformed reply: {error}") from error


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
