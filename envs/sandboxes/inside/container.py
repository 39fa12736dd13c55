"""The first process of a container: one attached stream carries the frames of many episodes.

Every frame on standard input names whom it is ``to``, every frame on standard output whom it is ``from``: ``zygote``,
``launcher``, or an episode's number. ``put`` frames bring task files, ``place`` frames show them to an episode that was
forked before its task was known. In a container of its own an episode is a plain
fork, and its interpreter becomes another user, so that it can neither signal its supervisor nor write its task files;
in a shared container the launcher makes namespaces exactly as on a host. End of input ends everything.
"""

import base64
import os
import select
import shutil
import signal
import socket
import sys
from typing import Any

from . import frames, launcher, syscalls, zygote

STORE = "/srv/store"
DATA = "/srv/data"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Port:
    """Routes frames between the attached stream and the processes inside.

    Args:
        config: ``shared``, ``zygote`` settings, ``links`` and ``texts`` of the root.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.shared: bool = config["shared"]
        self.config = config
        self.peers: dict[int, tuple[str | int, socket.socket, frames.Buffer]] = {}
        self.incoming = frames.Buffer()
        self.zygote: socket.socket
        self.launcher: socket.socket | None = None
        self.poll = select.poll()
        self.poll.register(0, select.POLLIN)
        os.makedirs(STORE, 0o700, exist_ok=True)
        os.makedirs(DATA, 0o755, exist_ok=True)

    def start(self) -> None:
        """Start what makes episodes."""
        ours, theirs = socket.socketpair()
        mounts, mounts_end = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            os.close(0)
            os.open("/dev/null", os.O_RDWR)
            os.dup2(2, 1)  # only the port may write to the attached stream
            ours.close()
            mounts.close()
            try:
                if self.shared:
                    launcher.main(mounts_end.fileno(), theirs.fileno())
                else:
                    zygote.main(
                        {**self.config["zygote"], "proc": True, "clone_flags": 0}, theirs.fileno(), mounts_end.fileno()
                    )
            finally:
                os._exit(1)
        theirs.close()
        mounts_end.close()
        self.zygote = ours
        self._add("zygote", ours)
        if self.shared:
            self._add("launcher", mounts)
            frames.write_frame(mounts.fileno(), plan(self.config))
        self.launcher = mounts

    def serve(self) -> None:
        """Route until the input ends."""
        while True:
            for fd, _ in self.poll.poll():
                if fd == 0:
                    data = os.read(0, 1 << 18)
                    if not data:
                        return
                    for message in self.incoming.feed(data):
                        self._deliver(message)
                elif fd in self.peers:
                    self._collect(fd)

    def _add(self, name: str | int, sock: socket.socket) -> None:
        self.peers[sock.fileno()] = (name, sock, frames.Buffer())
        self.poll.register(sock.fileno(), select.POLLIN)

    def _collect(self, fd: int) -> None:
        name, sock, buffer = self.peers[fd]
        try:
            data = sock.recv(1 << 18)
            found = buffer.feed(data)
        except (ConnectionResetError, frames.FrameError):
            data, found = b"", []
        for frame in found:
            frames.write_frame(1, {"from": name, "frame": frame})
        if not data:
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        name, sock, _ = self.peers.pop(fd)
        self.poll.unregister(fd)
        sock.close()
        frames.write_frame(1, {"from": name, "frame": None})

    def _deliver(self, message: frames.Frame) -> None:
        target, frame = message["to"], message["frame"]
        if target == "put":
            self._put(frame)
        elif target == "place":
            self._place(frame["files"])
        elif target == "zygote" and frame["op"] == "spawn":
            self._spawn(frame)
        else:
            for name, sock, _ in list(self.peers.values()):
                if name == target:
                    self._pass_on(sock, frame)

    def _pass_on(self, sock: socket.socket, frame: frames.Frame) -> None:
        try:
            frames.write_frame(sock.fileno(), frame)
        except BrokenPipeError:
            self._drop(sock.fileno())

    def _spawn(self, frame: frames.Frame) -> None:
        ours, theirs = socket.socketpair()
        if not self.shared:
            self._place(frame["files"])
            frame = {**frame, "files": {}}
        socket.send_fds(self.zygote, [frames.encode(frame)], [theirs.fileno()])
        theirs.close()
        self._add(frame["id"], ours)

    def _place(self, files: dict[str, str]) -> None:
        """Show the only episode of this container its task files."""
        for name, key in files.items():
            shutil.copyfile(f"{STORE}/{key}", f"{DATA}/{name}")
            os.chmod(f"{DATA}/{name}", 0o444)

    def _put(self, frame: frames.Frame) -> None:
        path = f"{STORE}/{frame['key']}"
        with open(path, "ab") as file:
            file.write(base64.b64decode(frame["data"]))
        if frame["last"] and self.shared and self.launcher is not None:
            frames.write_frame(self.launcher.fileno(), {"op": "bind", "key": frame["key"], "path": path})
        elif frame["last"]:
            frames.write_frame(1, {"from": "zygote", "frame": {"op": "stored", "key": frame["key"]}})


def plan(config: dict[str, Any]) -> dict[str, Any]:
    """What of the image a shared container's episodes see."""
    links, binds = dict(config["links"]), []
    for path in (*_SYSTEM, *_DEVICES, *config["zygote"]["paths"], config["zygote"]["runner"]):
        if os.path.islink(path):
            links[path] = os.readlink(path)
        elif os.path.exists(path):
            binds.append({"source": path, "target": path, "directory": os.path.isdir(path), "device": path in _DEVICES})
    settings = {
        **config["zygote"],
        "hide_after_import": [config["zygote"]["runner"]],
        "python": os.path.realpath("/proc/self/exe"),
    }
    return {
        "plain": False,
        "root": "/mnt",
        "binds": binds,
        "empty": [],
        "links": links,
        "texts": config["texts"],
        "zygote": settings,
    }


def main() -> None:
    """Entry point of the image."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0 if os.geteuid() == 0 else 1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    config = frames.read_frame(0)
    if config is None:
        return
    port = Port(config)
    try:
        port.start()
        port.serve()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201  (the container's log)
        raise
    finally:
        os._exit(0)
