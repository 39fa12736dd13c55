"""A process with the libraries imported, inside the read-only root, that forks one supervisor per episode.

It never runs model code and holds no descriptor a fork keeps. Requests come over a socket from the host: ``spawn``
(with the episode's socket as ancillary data), ``kill``. Task files come from the launcher as detached mounts, are
attached once under a path no episode sees, and bound into those episodes that ask for them.
"""

import gc
import importlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
from typing import Any

from . import frames, seccomp, syscalls
from .child import ChildSettings
from .processes import address_space
from .supervisor import Supervisor

STORE = "/store"
_QUIET = syscalls.MS_NOSUID | syscalls.MS_NODEV
_INNER_USER = 1000


def preload(modules: list[str]) -> None:
    """Import what cells will want and use it once, so that lazy parts are in memory before the first fork."""
    for name in modules:
        importlib.import_module(name)
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        pandas.set_option("display.width", 160, "display.max_columns", 40)
        table = pandas.DataFrame({"a": [1, 2, 2], "b": ["x", "y", "y"], "c": [0.5, 1.5, None]})
        repr(table.groupby("b")["a"].mean())
        repr(table.merge(table, on="a").sort_values("a").describe())
        pandas.to_datetime(table["b"].map({"x": "2100-01-01", "y": "2100-01-02"}))
    gc.collect()
    gc.freeze()


class Zygote:
    """The fork server.

    Args:
        host: Socket to the host.
        mounts: Socket to the launcher, which sends detached mounts.
        config: ``modules``, ``environment`` of the episodes, ``proc`` (whether /proc can be mounted), ``network``.
    """

    def __init__(self, host: socket.socket, mounts: socket.socket, config: dict[str, Any]) -> None:
        self.host, self.mounts, self.config = host, mounts, config
        self.children: dict[int, int] = {}
        self.incoming = frames.Buffer()
        self.size = address_space()
        self.counter = _process_counter()
        self.work, self.data = "/work", "/data"
        self.readable: list[str] = []
        seccomp.program()

    def serve(self) -> None:
        """Answer until the host hangs up; the pid namespace dies with this process."""
        read_end, write_end = os.pipe()
        for fd in (read_end, write_end):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        poll = select.poll()
        for fd in (self.host.fileno(), self.mounts.fileno(), read_end):
            poll.register(fd, select.POLLIN)
        self.wake = (read_end, write_end)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if read_end in ready:
                os.read(read_end, 4096)
                self._reap()
            if self.mounts.fileno() in ready and not self._attach():
                return
            if self.host.fileno() in ready and not self._request():
                return

    def _request(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.host, 65536, 1)
        if not data:
            return False
        for frame in self.incoming.feed(data):
            if frame["op"] == "spawn":
                self._spawn(frame, fds.pop())
            elif frame["op"] == "kill" and frame["id"] in self.children.values():
                os.kill(next(pid for pid, name in self.children.items() if name == frame["id"]), signal.SIGKILL)
        return True

    def _attach(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.mounts, 4096, 1)
        if not data:
            return False
        request = json.loads(data)
        target = f"{self.config.get('store', STORE)}/{request['key']}"
        with open(target, "xb") as file:
            if not request["mount"]:
                _copy(fds[0], file.fileno())
                os.fchmod(file.fileno(), 0o444)
        if request["mount"]:
            syscalls.attach(fds[0], target)
        self._send({"op": "stored", "key": request["key"]})
        return True

    def _send(self, frame: frames.Frame) -> None:
        frames.write_frame(self.host.fileno(), frame)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            episode = self.children.pop(pid, None)
            if "episodes" in self.config:
                shutil.rmtree(f"{self.config['episodes']}/{episode}", ignore_errors=True)
            if episode is not None:
                self._send({"op": "ended", "id": episode, "code": os.waitstatus_to_exitcode(status)})

    def _spawn(self, request: frames.Frame, sock: int) -> None:
        pid = syscalls.clone(self.config["clone_flags"])
        if pid:
            os.close(sock)
            self.children[pid] = request["id"]
            return
        try:
            self._become_supervisor(request, sock)
        except BaseException as error:
            frames.write_frame(sock, {"op": "failed", "message": f"{type(error).__name__}: {error}"})
        finally:
            os._exit(0)

    def _become_supervisor(self, request: frames.Frame, sock: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pid 1 hears only what it handles, and Python handles this one
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        for fd in (self.host.fileno(), self.mounts.fileno(), *self.wake):
            os.close(fd)
        if self.config["clone_flags"]:
            enter_episode(request, proc=self.config["proc"])
        elif "episodes" in self.config:
            self._enter_folder(request)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        limits = request["limits"]
        settings = ChildSettings(
            memory=limits["memory_mb"] << 20,
            address_space=self.size,
            processes=limits["processes"],
            disk=limits["disk_mb"] << 20,
            output_chars=limits["output_chars"],
            seed=request["seed"],
            preamble=request["preamble"],
            writable=request["writable"],
            environment=self.config["environment"],
            work=self.work,
            data=self.data,
            readable=self.readable,
            user=self.config.get("user"),
        )
        Supervisor(sock, settings, self.counter).serve()

    def _enter_folder(self, request: frames.Frame) -> None:
        """Without namespaces: a folder of its own, with copies of the task files beside it."""
        folder = f"{self.config['episodes']}/{request['id']}"
        self.work, self.data = f"{folder}/work", f"{folder}/data"
        os.makedirs(self.work, 0o700)
        os.mkdir(self.data)
        for name, key in request["files"].items():
            shutil.copyfile(f"{self.config['store']}/{key}", f"{self.data}/{name}")
        self.config["environment"] = {**self.config["environment"], "HOME": self.work, "TMPDIR": f"{self.work}/.tmp"}
        self.readable = [*self.config["readable"], self.data, "/proc/self"]


def enter_episode(request: frames.Frame, *, proc: bool) -> None:
    """In fresh namespaces: identity, own /proc, work space, task files, nothing of the store; then no capabilities."""
    syscalls.map_ids(_INNER_USER, 0, 0)
    size = request["limits"]["disk_mb"]
    owner = f"uid={_INNER_USER},gid={_INNER_USER}"
    syscalls.mount("work", "/work", "tmpfs", _QUIET, f"size={size}m,nr_inodes={max(256, 64 * size)},mode=700,{owner}")
    syscalls.mount("data", "/data", "tmpfs", _QUIET, "size=64k,nr_inodes=512,mode=755")
    for name, key in request["files"].items():
        with open(f"/data/{name}", "xb"):
            pass
        syscalls.mount(f"{STORE}/{key}", f"/data/{name}", flags=syscalls.MS_BIND)
    syscalls.mount("none", "/data", flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | _QUIET)
    syscalls.mount("none", STORE, "tmpfs", _QUIET | syscalls.MS_RDONLY, "size=4k,nr_inodes=2,mode=0")
    if proc:
        syscalls.mount("proc", "/proc", "proc", _QUIET | syscalls.MS_NOEXEC, "subset=pid")
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        syscalls.mount(
            "none",
            "/proc",
            flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | _QUIET | syscalls.MS_NOEXEC,
        )
    syscalls.drop_capabilities()


def _process_counter() -> int | None:
    """The kernel's own /proc/loadavg, open: read in an episode, its last number is the newest pid of the episode."""
    try:
        fd = os.open("/proc/loadavg", os.O_RDONLY)
    except OSError:
        return None
    return fd if os.fstat(fd).st_dev == os.stat("/proc").st_dev else None  # else something is mounted over it


def _copy(source: int, target: int) -> None:
    while os.sendfile(target, source, None, 1 << 24):
        pass
    os.close(source)


def main(config: dict[str, Any], host_fd: int, mounts_fd: int) -> None:
    """Entry point after the launcher's exec: import, report, serve."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    host, mounts = socket.socket(fileno=host_fd), socket.socket(fileno=mounts_fd)
    for sock in (host, mounts):
        os.set_inheritable(sock.fileno(), False)
    sys.path[:] = [*[p for p in sys.path if p], *config["paths"]]
    preload(config["modules"])
    for hidden in config["hide_after_import"]:
        syscalls.umount(hidden)
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    zygote = Zygote(host, mounts, config)
    frames.write_frame(host_fd, {"op": "ready", "proc": config["proc"], "modules": sorted(config["modules"])})
    zygote.serve()
