"""Owns an episode's control socket: starts the interpreter, times it, drains and caps its output, replaces it.

Invariants: the interpreter never holds the socket; one reply goes out per request; no process outlives the cell that
started it, except the interpreter; whatever the interpreter sends is checked before it is passed on; when the socket
ends, everything ends.
"""

import os
import select
import signal
import time
import traceback
from dataclasses import dataclass, field, replace
from typing import Any

from . import frames, seccomp, syscalls, values
from .capture import Capture
from .child import ChildSettings, run_command, run_interpreter
from .processes import Family, resident

DYING = 2.0
"""Seconds a process that closed its pipes gets to finish dying and leave its exit status."""
GRACE = 0.2
"""Seconds between the interrupt at a cell's deadline and the kill."""
TICK = 0.025
"""Seconds between two looks at the episode's memory."""
START = 60.0
"""Seconds an interpreter and its preamble may take to start."""
_NOTHING = memoryview(b"")
_WIPE = "chmod -R u+rwx . && find . -mindepth 1 -delete"
_FOR_CHILD = (b'{"op":"exec"', b'{"op":"get"')
_REPLY_LIMIT = values.MAX_BYTES * 2


class Hangup(Exception):
    """The host is gone or has closed the episode."""


@dataclass(eq=False)
class Child:
    """A process with its pipes: the interpreter, or one shell command."""

    pid: int
    handle: int
    out: int
    err: int
    requests: int = -1
    replies: int = -1
    buffer: frames.Buffer = field(default_factory=lambda: frames.Buffer(_REPLY_LIMIT))

    def close(self) -> None:
        """Close this side of the pipes."""
        for fd in (self.handle, self.out, self.err, self.requests, self.replies):
            if fd >= 0:
                os.close(fd)


class Ended(Exception):
    """A request was cut short: ``status`` says why."""

    def __init__(self, status: str, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


class Supervisor:
    """The episode's trusted process.

    Args:
        sock: Descriptor of the control socket.
        settings: Limits, seed and preamble of the episode.
        counter: See :class:`~.processes.Family`.
    """

    def __init__(self, sock: int, settings: ChildSettings, counter: int | None = None) -> None:
        self.sock, self.settings = sock, settings
        self.family = Family(counter)
        if not self.family.owns_all:
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        self.filter = seccomp.program(() if self.family.owns_all else (os.getpid(), os.getppid()))
        self.out, self.err = Capture(settings.output_chars), Capture(settings.output_chars)
        self.incoming = frames.Buffer()
        self.queue: list[frames.Frame] = []
        self.ahead: memoryview | None = None
        self.lost = False
        self.looked = 0.0
        self.littered = False
        self.poll = select.poll()
        self.polled: list[Child] = []
        os.set_blocking(sock, False)
        self.baseline = resident(os.getpid())
        self.child = self._start()

    def serve(self) -> None:
        """Answer the host until it hangs up."""
        try:
            frames.write_frame(self.sock, {"op": "hello", "pid": os.getpid()})
            while True:
                request = self._next()
                reply = self._answer(request)
                reply["id"] = request["id"]
                frames.write_frame(self.sock, reply)
                self._tidy()
        except (Hangup, BrokenPipeError, ConnectionResetError):
            return

    def _next(self) -> frames.Frame:
        while not self.queue:
            try:
                alive = self._wait([self.child], None)[2]
            except frames.FrameError:
                alive = False
            if not alive:
                self._bury()
        return self.queue.pop(0)

    def _answer(self, request: frames.Frame) -> frames.Frame:
        if request["op"] in ("get", "put"):
            return self._value(request)
        if request["op"] == "reset":
            return self._reset(request)
        if request["op"] == "begin":
            return self._begin(request)
        started = time.monotonic()
        runner = self._command if request["op"] == "terminal" else self._cell
        try:
            reply = runner(request, started + request["seconds"])
        except Ended as ended:
            reply = {"status": ended.status, "message": ended.message}
        return self._result(reply, time.monotonic() - started)

    def _result(self, reply: frames.Frame, seconds: float) -> frames.Frame:
        trace = reply.pop("trace", "")
        if trace:
            self.err.feed(trace.encode("utf-8", "replace"))
        reply["out"], out_cut = self.out.take()
        reply["err"], err_cut = self.err.take()
        reply["cut"], reply["seconds"] = out_cut + err_cut, round(seconds, 6)
        reply["lost"], self.lost = self.lost, False
        return reply

    # -- cells -----------------------------------------------------------------------------------------------------

    def _cell(self, request: frames.Frame, deadline: float) -> frames.Frame:
        if self.littered:
            request["bury"], self.littered = True, False
        reply = self._ask(request, deadline)
        status = reply.get("status")
        if reply["late"]:
            status = "timeout"
        elif status == "ok":
            return {"status": "ok"}
        elif status not in ("error", "memory"):
            status = "crashed"
        line = reply.get("line")
        kept = {key: reply[key] for key in ("type", "message", "trace") if type(reply.get(key)) is str}
        return {"status": status, "line": line if type(line) is int else None, **kept}

    def _value(self, request: frames.Frame) -> frames.Frame:
        try:
            reply = self._ask(request, time.monotonic() + request["seconds"])
            status, text = reply.get("status"), reply.get("value")
            if status == "ok" and type(text) is str:
                return {"status": "ok", "value": values.check(text)}
            return {
                "status": "missing" if status == "missing" else "invalid",
                "message": str(reply.get("message"))[:999],
            }
        except (Ended, values.NoJsonForm) as error:
            return {"status": "invalid", "message": str(error)}

    def _ask(self, request: frames.Frame, deadline: float) -> frames.Frame:
        """An exchange with the interpreter, which is replaced when it breaks the protocol or the deadline."""
        try:
            return self._exchange(self.child, request, deadline)
        except frames.FrameError as error:
            failure = Ended("crashed", self._epitaph(self.child, f"the interpreter broke the protocol: {error}"))
        except Ended as ended:
            failure = ended
        self._bury()  # outside the handler: a fork inherits the exception being handled
        raise failure

    def _exchange(self, child: Child, request: frames.Frame, deadline: float) -> frames.Frame:
        self.looked = time.monotonic()
        pending = memoryview(frames.encode(request)) if self.ahead is None else self.ahead
        self.ahead = None
        interrupted = False
        while True:
            pending, replies, alive = self._wait([child], deadline, pending)
            for reply in replies:
                if reply.get("id") == request["id"]:
                    reply["late"] = interrupted
                    return reply
            if not alive:
                raise Ended("crashed", self._epitaph(child, "the interpreter is gone"))
            if time.monotonic() >= deadline:
                if interrupted:
                    raise Ended("timeout", "killed at its time limit")
                interrupted, deadline = True, deadline + GRACE
                os.kill(child.pid, signal.SIGINT)

    def _command(self, request: frames.Frame, deadline: float) -> frames.Frame:
        shell = self._spawn(lambda pipes: run_command(request["code"], self.settings, self.filter, pipes), talks=False)
        try:
            while self._wait([shell, self.child], deadline)[2]:
                if time.monotonic() >= deadline:
                    raise Ended("timeout", "killed at its time limit")
            code = os.waitstatus_to_exitcode(os.waitpid(shell.pid, 0)[1])
            self._drain(shell)
        finally:
            keep = self.child.pid
            if not self.family.end(keep):
                self._bury()
            self._drain(shell)
            shell.close()
        return (
            {"status": "ok"} if code == 0 else {"status": "error", "type": "ExitCode", "message": f"exit code {code}"}
        )

    def _reset(self, request: frames.Frame) -> frames.Frame:
        """Everything dies, then a shell with the code's own rights empties the folder, then all starts anew."""
        self._bury()
        try:
            reply = self._command({"code": _WIPE}, time.monotonic() + request["seconds"])
        except Ended as ended:
            reply = {"status": ended.status, "message": ended.message}
        self._bury()
        self._result({}, 0.0)
        return reply

    def _begin(self, request: frames.Frame) -> frames.Frame:
        """An episode that was forked ahead learns what it is for."""
        known = {name: request[name] for name in ("seed", "preamble", "writable")}
        self.settings = replace(self.settings, **known)
        try:
            self._prepare(self.child)
        except RuntimeError as error:
            return {"status": "failed", "message": str(error)}
        return {"status": "ok"}

    # -- the interpreter's life ------------------------------------------------------------------------------------

    def _start(self) -> Child:
        child = self._spawn(lambda pipes: run_interpreter(self.settings, self.filter, pipes), talks=True)
        self._prepare(child)
        return child

    def _prepare(self, child: Child) -> None:
        """Seed a fresh interpreter and run the preamble in it; what that prints is nobody's."""
        settings = self.settings
        request = {"seed": settings.seed, "writable": list(settings.writable), "code": settings.preamble}
        try:
            reply = self._exchange(
                child, {"op": "begin", **request, "cell": "<preamble>", "id": -1}, time.monotonic() + START
            )
        except (Ended, frames.FrameError) as error:
            raise RuntimeError(f"the interpreter did not start: {error}; {self.err.text()[0][-2000:]}") from error
        if reply.get("status") != "ok" or reply["late"]:
            raise RuntimeError(f"the preamble failed: {reply.get('trace') or reply.get('message')}")
        self.out.clear()
        self.err.clear()

    def _spawn(self, body: Any, *, talks: bool) -> Child:
        pairs = [os.pipe() for _ in range(4 if talks else 2)]
        pid = os.fork()
        if pid == 0:
            try:
                os.close(self.sock)
                body([pairs[0][1], pairs[1][1], *([pairs[2][0], pairs[3][1]] if talks else [])])
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(127)
        out, err = pairs[0][0], pairs[1][0]
        for fd in (pairs[0][1], pairs[1][1]):
            os.close(fd)
        child = Child(pid, os.pidfd_open(pid), out, err)
        if talks:
            child.requests, child.replies = pairs[2][1], pairs[3][0]
            os.close(pairs[2][0])
            os.close(pairs[3][1])
        for fd in (out, err, child.requests, child.replies):
            if fd >= 0:
                os.set_blocking(fd, False)
        return child

    def _bury(self) -> None:
        """Kill the interpreter and all else, read what they still had to say, start afresh."""
        self.family.end()
        self.ahead = None
        self._drain(self.child)
        self.child.close()
        self.lost = True
        self.child = self._start()

    def _epitaph(self, child: Child, otherwise: str) -> str:
        """How the interpreter died, or ``otherwise`` when it has not."""
        if not select.select([child.handle], [], [], DYING)[0]:
            return otherwise
        code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        return (
            f"the interpreter was killed by signal {-code}" if code < 0 else f"the interpreter exited with code {code}"
        )

    def _tidy(self) -> None:
        """End what the cell left running."""
        if self.family.only(self.child.pid):
            return
        self.littered = True
        if not self.family.end(self.child.pid):
            self._bury()

    # -- input and output ------------------------------------------------------------------------------------------

    def _wait(
        self, children: list[Child], deadline: float | None, pending: memoryview = _NOTHING
    ) -> tuple[memoryview, list[frames.Frame], bool]:
        """Move bytes until something happened: what is left to send, replies, and whether the first child lives."""
        first = children[0]
        if pending:
            pending = pending[_write(first.requests, pending) :]
        if children != self.polled or pending:
            self._watch(children, writing=bool(pending))
        timeout = None if deadline is None else max(0.0, min(TICK, deadline - time.monotonic())) * 1000
        ready = dict(self.poll.poll(timeout))
        if self.sock in ready:
            idle = deadline is None and not self.littered and first.handle not in ready
            self._receive(first if idle else None)
        if deadline is not None and time.monotonic() >= self.looked + TICK:
            self._watch_memory()
        replies = []
        if first.replies in ready:
            data = _read(first.replies)
            if data == b"":
                raise frames.FrameError("it closed its reply pipe")
            replies = first.buffer.feed(data or b"")
        if len(ready) > 1 or not replies:
            for child in children:
                if child.out in ready or child.err in ready:
                    self._drain(child)
        return pending, replies, first.handle not in ready

    def _watch(self, children: list[Child], *, writing: bool) -> None:
        """What to wait for. Replies are looked at before output: a reply seen means its output is seen too."""
        self.polled, self.poll = [] if writing else list(children), select.poll()
        for fd in (
            self.sock,
            *(fd for child in children for fd in (child.replies, child.handle, child.out, child.err)),
        ):
            if fd >= 0:
                self.poll.register(fd, select.POLLIN)
        if writing:
            self.poll.register(children[0].requests, select.POLLOUT)

    def _drain(self, child: Child) -> None:
        """Take the output there is, at most 1 MiB per stream."""
        for name, capture in (("out", self.out), ("err", self.err)):
            fd = child.__dict__[name]
            for _ in range(16 if fd >= 0 else 0):
                data = _read(fd)
                if data is None:
                    break
                if not data:
                    os.close(fd)
                    child.__dict__[name] = -1
                    self.polled = []
                    break
                capture.feed(data)

    def _receive(self, idle: Child | None) -> None:
        """Take what the host sends. A request for an idle interpreter goes to it first and is looked at afterwards."""
        data = os.read(self.sock, 65536)
        if not data:
            raise Hangup
        if idle is not None and data.startswith(_FOR_CHILD, frames.HEADER.size) and self.incoming.whole(data):
            sent = _write(idle.requests, data)
            self.ahead = _NOTHING if sent == len(data) else memoryview(data)[sent:]
        for frame in self.incoming.feed(data):
            if frame["op"] == "close":
                raise Hangup
            self.queue.append(frame)

    def _watch_memory(self) -> None:
        self.looked = time.monotonic()
        members = self.family.members()
        if len(members) > self.settings.processes:
            raise Ended("crashed", f"more than {self.settings.processes} processes")
        used = sum(max(0, resident(pid) - self.baseline) for pid in members)
        if not self.settings.readable:  # else the work folder lies on the host's disk
            space = os.statvfs(self.settings.work)
            used += (space.f_blocks - space.f_bfree) * space.f_frsize
        if used > self.settings.memory:
            raise Ended("memory", f"the episode's processes held more than {self.settings.memory >> 20} MiB")


def _read(fd: int) -> bytes | None:
    """Bytes, ``b""`` at the end, ``None`` when there is nothing yet."""
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return None


def _write(fd: int, data: bytes | memoryview) -> int:
    try:
        return os.write(fd, data)
    except (BlockingIOError, BrokenPipeError):
        return 0
