"""Episodes in hardened containers, through the Docker SDK: a warm pool of single-use ones, or a few shared ones.

``single``: one container per episode, made in the background, removed after use. ``shared``: every container hosts
many episodes, each in its own namespaces, made by the launcher as on a host. Leftovers of dead owners are swept by
label at start; a live owner's containers end with the stream they are attached to.
"""

import asyncio
import itertools
import json
import os
import socket
import uuid
from collections import deque
from importlib.resources import files
from typing import Any

from copilot.envs.sandboxes import layout
from copilot.envs.sandboxes.base import LEVELS, Isolation, SandboxBackend, SandboxConfig, SandboxSpec
from copilot.envs.sandboxes.container import Container
from copilot.envs.sandboxes.images import LABEL, runner_hash
from copilot.envs.sandboxes.inside.frames import Frame
from copilot.envs.sandboxes.probe import observe
from copilot.envs.sandboxes.session import Session, make_slots
from copilot.errors import InfrastructureError, SandboxError

OWNER, RUN = "org.med-copilot.sandbox.owner", "org.med-copilot.sandbox.run"
_USER = 65532
_BASE_MB = 256
"""Memory the preloaded libraries may take on top of an episode's cap."""
_SHARED_EPISODES = 64


class Backend(SandboxBackend):
    """Episodes in containers.

    Args:
        config: Limits, mode, image and engines.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.shared = config.docker.mode == "shared"
        self._clients: list[Any] = []
        self._turn: Any = itertools.count()
        self._slots = make_slots(config.slots)
        self._run = uuid.uuid4().hex[:12]
        self._ready: deque[Container] = deque()
        self._all: set[Container] = set()
        self._filling: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> Isolation:
        """Reach the engines, sweep leftovers, warm up, and report what a probe episode observed."""
        try:
            await asyncio.to_thread(self._connect)
            await asyncio.gather(*(self._add() for _ in range(len(self._clients) if not self.shared else self._want())))
            isolation = await observe(self, container=True)
        except InfrastructureError as error:
            await self.close()
            raise SandboxError(f"no sandbox container: {error}", remedy="run `med-copilot sandbox doctor`") from error
        except SandboxError:
            await self.close()
            raise
        if LEVELS.index(isolation.level) < LEVELS.index(self.config.require):
            await self.close()
            raise SandboxError(f"docker reaches level {isolation.level!r}, the recipe requires {self.config.require!r}")
        self._refill()
        return isolation

    async def open(self, spec: SandboxSpec) -> Session:
        """An episode in a warm container, or in the least busy shared one."""
        if self._closed or not self._clients:
            raise InfrastructureError("sandbox", "the backend is not started")
        return await (self._open_shared(spec) if self.shared else self._open_single(spec))

    async def close(self) -> None:
        """Remove all containers."""
        self._closed = True
        for task in list(self._filling):
            task.cancel()
        await asyncio.gather(*self._filling, return_exceptions=True)
        await asyncio.gather(*(self._remove(container) for container in list(self._all)))
        for client in self._clients:
            client.close()
        self._clients = []

    # -- engines ---------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        try:
            import docker
            import docker.errors
        except ImportError as error:
            raise SandboxError("the Docker SDK is not installed", remedy="pip install docker") from error
        for host in self.config.docker.hosts or ("",):
            try:
                client = docker.DockerClient(base_url=host) if host else docker.from_env()
                client.ping()
                image = client.images.get(self.config.docker.image)
            except docker.errors.ImageNotFound as error:
                raise SandboxError(
                    f"the engine has no image {self.config.docker.image!r}", remedy="med-copilot sandbox build-image"
                ) from error
            except docker.errors.DockerException as error:
                raise SandboxError(
                    f"no Docker engine answers at {host or os.environ.get('DOCKER_HOST', 'the local socket')}: {error}",
                    remedy="start dockerd, or set DOCKER_HOST",
                ) from error
            if image.labels.get(LABEL) != runner_hash():
                raise SandboxError(
                    f"image {self.config.docker.image!r} holds another version of the runner",
                    remedy="med-copilot sandbox build-image",
                )
            sweep(client)
            self._clients.append(client)

    def _want(self) -> int:
        return max(1, self.config.docker.warm) * max(1, len(self._clients))

    # -- containers ------------------------------------------------------------------------------------------------

    async def _add(self) -> None:
        """Start one more container and put it among the ready ones."""
        client = self._clients[next(self._turn) % len(self._clients)]
        handle, sock = await asyncio.to_thread(self._start_container, client)
        container = Container(handle, sock, self.config.limits, self._slots)
        self._all.add(container)
        try:
            await container.ready(self._settings())
            if not self.shared:
                await container.fork_ahead()
        except BaseException:
            await self._remove(container)
            raise
        self._ready.append(container)

    def _start_container(self, client: Any) -> tuple[Any, socket.socket]:
        import docker.errors

        try:
            created = client.api.create_container(
                self.config.docker.image,
                stdin_open=True,
                labels={OWNER: owner(), RUN: self._run},
                host_config=self._host_config(client),
                user="0" if not self.shared else f"{_USER}:{_USER}",
                hostname="sandbox",
                network_disabled=True,
                environment={},
            )
            stream = client.api.attach_socket(created["Id"], params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            client.api.start(created["Id"])
        except docker.errors.DockerException as error:
            raise InfrastructureError("sandbox", f"docker: {error}") from error
        sock: socket.socket = stream._sock  # the SDK hands out a file object around the socket
        duplicate = sock.dup()
        stream.close()
        return client.containers.get(created["Id"]), duplicate

    def _host_config(self, client: Any) -> dict[str, Any]:
        limits = self.config.limits
        count = _SHARED_EPISODES if self.shared else 1
        inodes = 64 * limits.disk_mb
        memory = (limits.memory_mb + _BASE_MB) * (4 if self.shared else 1)
        profile = json.dumps(json.loads((files("copilot.launch") / "docker/seccomp-shared.json").read_text()))
        config: dict[str, Any] = client.api.create_host_config(
            read_only=True,
            network_mode="none",
            cap_drop=["ALL"],
            cap_add=[] if self.shared else ["KILL", "SETUID", "SETGID"],
            security_opt=["no-new-privileges"] + ([f"seccomp={profile}", "apparmor=unconfined"] if self.shared else []),
            mem_limit=f"{memory}m",
            memswap_limit=f"{memory}m",
            pids_limit=(limits.processes + 8) * count,
            init=True,
            auto_remove=True,
            ipc_mode="private",
            shm_size="1m",
            log_config={"Type": "none"},
            tmpfs={
                "/work": f"rw,nosuid,nodev,exec,size={limits.disk_mb}m,nr_inodes={inodes},mode=700,uid={_USER}",
                "/srv": f"rw,nosuid,nodev,noexec,size=2g,mode=755{f',uid={_USER}' if self.shared else ''}",
            },
            runtime=self.config.docker.runtime or None,
        )
        if self.shared:  # a fresh /proc cannot be mounted where parts of the old one are masked
            config["MaskedPaths"], config["ReadonlyPaths"] = [], []
        return config

    def _settings(self) -> Frame:
        variables = layout.environment("/usr/local")
        return {
            "shared": self.shared,
            "links": layout.LINKS,
            "texts": layout.TEXTS,
            "zygote": {
                "paths": ["/opt/site"],
                "runner": "/opt/runner",
                "modules": list(layout.PRELOADED),
                "environment": variables,
                "loader_environment": variables,
                "hide_after_import": [],
                "user": None if self.shared else _USER,
            },
        }

    def _refill(self) -> None:
        if self.shared or self._closed:
            return
        missing = self._want() - len(self._ready) - len(self._filling)
        for _ in range(min(missing, 2)):
            task = asyncio.create_task(self._add())
            self._filling.add(task)
            task.add_done_callback(self._filled)

    def _filled(self, task: "asyncio.Task[None]") -> None:
        self._filling.discard(task)
        if not task.cancelled() and task.exception() is None:
            self._refill()

    async def _remove(self, container: Container) -> None:
        import docker.errors

        self._all.discard(container)
        container.detach()

        def remove() -> None:
            try:
                container.handle.remove(force=True)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):  # gone, or already being removed
                    raise

        await asyncio.to_thread(remove)

    # -- episodes --------------------------------------------------------------------------------------------------

    async def _open_single(self, spec: SandboxSpec) -> Session:
        while True:
            if not self._ready:
                await self._add()
            container = self._ready.popleft() if self._ready else None
            if container is not None and not container.failure:
                break
            if container is not None:
                await self._remove(container)
        try:
            return await container.open(spec, on_close=lambda _: self._remove(container))
        finally:
            self._refill()  # not before: starting containers would take the processors from this start

    async def _open_shared(self, spec: SandboxSpec) -> Session:
        for dead in [container for container in self._ready if container.failure]:
            self._ready.remove(dead)
            await self._remove(dead)
            await self._add()
        container = min(self._ready, key=lambda one: len(one.sessions))
        return await container.open(spec, on_close=container.end)


def owner() -> str:
    """Who a container belongs to: this host, this process, and when it began, against reuse of its number."""
    with open("/proc/self/stat", "rb") as file:
        began = file.read().rpartition(b")")[2].split()[19].decode()
    return f"{socket.gethostname()}:{os.getpid()}:{began}"


def sweep(client: Any) -> int:
    """Remove containers whose owner on this host is dead; returns how many."""
    import docker.errors

    removed = 0
    for container in client.containers.list(all=True, ignore_removed=True, filters={"label": OWNER}):
        host, pid, began = container.labels[OWNER].rsplit(":", 2)
        if host != socket.gethostname() or _began(int(pid)) == began:
            continue
        try:
            container.remove(force=True)
            removed += 1
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):
                raise
    return removed


def _began(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""
