"""The default wall: namespaces without a daemon, as root or as anyone, an episode in milliseconds.

``start`` runs the launcher, which runs the zygote (see :mod:`copilot.envs.sandboxes.inside`); ``open`` sends the zygote
one end of a socket pair and is answered by the new episode itself. The level is what a probe episode observed.
"""

import asyncio
import hashlib
import itertools
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO

from copilot.envs.sandboxes import layout
from copilot.envs.sandboxes.base import (
    LEVELS,
    Isolation,
    SandboxBackend,
    SandboxConfig,
    SandboxSpec,
)
from copilot.envs.sandboxes.connection import Connection
from copilot.envs.sandboxes.inside.frames import Frame
from copilot.envs.sandboxes.probe import observe
from copilot.envs.sandboxes.session import Session, make_slots
from copilot.errors import InfrastructureError, SandboxError

_START = (
    "import importlib.util as u, sys; "
    "s = u.spec_from_file_location('inside', sys.argv[1] + '/__init__.py', submodule_search_locations=[sys.argv[1]]); "
    "m = sys.modules['inside'] = u.module_from_spec(s); s.loader.exec_module(m); "
    "import inside.launcher as l; l.main(int(sys.argv[2]), int(sys.argv[3]))"
)
_PATIENCE = 120.0


class Backend(SandboxBackend):
    """Episodes as namespaced forks of a preloaded zygote.

    Args:
        config: Limits and the weakest isolation to accept.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._launcher: Connection | None = None
        self._zygote: Connection | None = None
        self._first: dict[str, asyncio.Future[Frame]] = {}
        self._stored: dict[str, asyncio.Future[None]] = {}
        self._ended: dict[int, asyncio.Future[None]] = {}
        self._open: dict[int, Session] = {}
        self._names = itertools.count(1)
        self._failure = ""
        self._slots = make_slots(config.slots)

    @property
    def process_id(self) -> int:
        """Of the launcher, root of all processes of this backend; 0 when it does not run."""
        return self._process.pid if self._process else 0

    async def start(self) -> Isolation:
        """Launch, preload, open a probe episode and report what it could see and do."""
        try:
            await self._launch(layout.plan())
        except SandboxError:
            if LEVELS.index(self.config.require) > LEVELS.index("limits"):
                raise
            await self._launch_without_namespaces()
        isolation = await observe(self)
        if LEVELS.index(isolation.level) < LEVELS.index(self.config.require):
            await self.close()
            raise SandboxError(
                f"the local sandbox reaches level {isolation.level!r}, the recipe requires {self.config.require!r}",
                remedy="run `med-copilot sandbox doctor` for what is missing, use `type: docker`, or lower `require:`",
            )
        return isolation

    async def _launch_without_namespaces(self) -> None:
        """The weaker levels, best first: bubblewrap around the zygote, then limits only."""
        for make in (layout.bwrap_plan, layout.plain_plan):
            self._failure = ""
            self._folder = tempfile.TemporaryDirectory(prefix="sandbox-")
            plan = make(Path(self._folder.name))
            try:
                if plan is not None:
                    await self._launch(plan)
                    return
            except SandboxError:
                if make is layout.plain_plan:
                    raise

    async def _launch(self, plan: Frame) -> None:
        launcher, launcher_end = socket.socketpair()
        zygote, zygote_end = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in close)
        ends = (launcher_end.fileno(), zygote_end.fileno())
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _START, str(layout.INSIDE), *map(str, ends)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            pass_fds=ends,
            env={"LANG": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )
        launcher_end.close()
        zygote_end.close()
        loop = asyncio.get_running_loop()
        self._first = {name: loop.create_future() for name in ("launched", "ready")}
        self._launcher = Connection(launcher, self._from_launcher)
        self._zygote = Connection(zygote, self._from_zygote)
        self._launcher.send(plan)
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.gather(*self._first.values())
        except (InfrastructureError, TimeoutError) as error:
            self._log.seek(0)
            detail = self._log.read().decode(errors="replace")[-2000:]
            await self.close()
            raise SandboxError(
                f"the local sandbox did not start: {error or 'timeout'}\n{detail}".strip(),
                remedy="run `med-copilot sandbox doctor`, or use `type: docker`",
            ) from error

    def _from_launcher(self, frame: Frame | None) -> None:
        self._greet(frame, "launched")
        if frame is not None and frame["op"] == "refused" and frame.get("key") in self._stored:
            self._settle(self._stored.pop(frame["key"]), frame["message"])

    def _from_zygote(self, frame: Frame | None) -> None:
        self._greet(frame, "ready")
        if frame is None:
            self._failure = self._failure or "the zygote is gone"
            for pending in (*self._stored.values(), *self._ended.values()):
                self._settle(pending, self._failure)
        elif frame["op"] == "stored":
            self._settle(self._stored[frame["key"]], "")
        elif frame["op"] == "ended":
            self._settle(self._ended.pop(frame["id"]), "")

    def _greet(self, frame: Frame | None, expected: str) -> None:
        if frame is not None and frame["op"] == expected:
            self._first[expected].set_result(frame)
        elif frame is None or (frame["op"] == "refused" and "key" not in frame):
            for future in self._first.values():
                if not future.done():
                    message = str(frame["message"]) if frame else "a process ended while starting"
                    future.set_exception(InfrastructureError("sandbox", message))

    @staticmethod
    def _settle(future: "asyncio.Future[None]", failure: str) -> None:
        if future.done():
            return
        if failure:
            future.set_exception(InfrastructureError("sandbox", failure))
            future.exception()
        else:
            future.set_result(None)

    async def open(self, spec: SandboxSpec) -> Session:
        """Fork an episode; returns once its interpreter is up and the preamble has run."""
        if self._zygote is None or self._failure:
            raise InfrastructureError("sandbox", self._failure or "the backend is not started")
        files = {name: await self._store(path) for name, path in spec.files.items()}
        name = next(self._names)
        ours, theirs = socket.socketpair()
        session: Session
        link = Connection(ours, lambda frame: session.receive(frame))
        session = Session(link.send, self._killer(name, link), self.config.limits, self._slots)
        self._ended[name] = asyncio.get_running_loop().create_future()
        self._open[name] = session
        request = {
            "op": "spawn",
            "id": name,
            "limits": self.config.limits.model_dump(),
            "seed": spec.seed,
            "preamble": spec.preamble,
            "writable": spec.writable,
            "files": files,
        }
        try:
            await self._zygote.send_with_descriptor(request, theirs.fileno())
            await session.ready()
        except BaseException:
            await session.close()
            raise
        finally:
            theirs.close()
        return session

    def _killer(self, name: int, link: Connection) -> Callable[[], Awaitable[None]]:
        async def kill() -> None:
            link.close()
            self._open.pop(name, None)
            ended = self._ended.get(name)
            if ended is not None and self._zygote is not None and not self._failure:
                self._zygote.send({"op": "kill", "id": name})
                await asyncio.wait([ended], timeout=_PATIENCE)

        return kill

    async def _store(self, path: Path) -> str:
        """Give the zygote a task file, once per version of it; returns the name it has there."""
        if self._launcher is None:
            raise InfrastructureError("sandbox", "the backend is not started")
        try:
            facts = path.stat()
        except OSError as error:
            raise InfrastructureError("sandbox", f"task file {path}: {error.strerror}") from error
        version = (str(path.resolve()), facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size)
        key = hashlib.sha256(repr(version).encode()).hexdigest()[:24]
        if key not in self._stored:
            self._stored[key] = asyncio.get_running_loop().create_future()
            self._launcher.send({"op": "bind", "key": key, "path": str(path.resolve())})
        await asyncio.shield(self._stored[key])
        return key

    async def close(self) -> None:
        """End all episodes, the zygote and the launcher."""
        await asyncio.gather(*(session.close() for session in list(self._open.values())))
        self._failure = self._failure or "the backend is closed"
        for link in (self._zygote, self._launcher):
            if link is not None:
                link.close()
        self._zygote = self._launcher = None
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the launcher, which ends at the end of its socket; its death kills the zygote's namespace."""
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
