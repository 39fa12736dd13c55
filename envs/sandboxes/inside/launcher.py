"""Builds the wall: from the host's file system to a zygote in its own namespaces on a read-only root.

This process keeps the host's view and never runs model code. It clones mounts of the paths it is told (the
interpreter, system libraries, later each task's files) and hands them, detached and read-only, to the zygote, which
has no host path in its tree at all. As root, the zygote becomes an unprivileged user before it makes its namespaces;
as anyone else, a user namespace gives the right to mount.
"""

import json
import os
import signal
import socket
import sys
from typing import Any

from . import frames, syscalls

_UNPRIVILEGED = 65532


def main(host_fd: int, zygote_fd: int) -> None:
    """Read the plan from the host, start the zygote, then serve task files until the host hangs up."""
    host = socket.socket(fileno=host_fd)
    plan = frames.read_frame(host_fd)
    if plan is None:
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if plan["plain"]:
        _start_plain(plan["zygote"], zygote_fd, theirs.fileno(), ours.fileno(), host_fd)
        theirs.close()
        os.close(zygote_fd)
        frames.write_frame(host_fd, {"op": "launched"})
        while (request := frames.read_frame(host_fd)) is not None:
            _hand_over(request, ours, host, as_root=True, mounts=False)
        return
    try:
        as_root = _gain_mounts()
        binds = [(bind["target"], syscalls.open_tree(bind["source"], devices=bind["device"])) for bind in plan["binds"]]
        pid = _start_zygote(plan, binds, zygote_fd, theirs.fileno(), as_root=as_root)
    except OSError as error:
        frames.write_frame(host_fd, {"op": "refused", "message": str(error)})
        return
    theirs.close()
    os.close(zygote_fd)
    for _, fd in binds:
        os.close(fd)
    frames.write_frame(host_fd, {"op": "launched", "pid": pid, "root": as_root})
    while (request := frames.read_frame(host_fd)) is not None:
        _hand_over(request, ours, host, as_root=as_root)


def _gain_mounts() -> bool:
    """Make ``open_tree`` work; whether it works as real root."""
    if os.geteuid() == 0:
        try:
            os.close(syscalls.open_tree("/usr"))
        except PermissionError:
            pass  # root of a container without the right to mount: go on as an unprivileged user would
        else:
            return True
    user, group = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    syscalls.map_ids(0, user, group)
    return False


def _hand_over(
    request: frames.Frame, zygote: socket.socket, host: socket.socket, *, as_root: bool, mounts: bool = True
) -> None:
    """Send a task file to the zygote: as a mount, or as a descriptor to copy from where its user could not read it."""
    path = request["path"]
    mount = mounts and (not as_root or bool(os.stat(path).st_mode & 0o004))
    try:
        fd = syscalls.open_tree(path) if mount else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        frames.write_frame(host.fileno(), {"op": "refused", "key": request["key"], "message": str(error)})
        return
    socket.send_fds(zygote, [json.dumps({"key": request["key"], "mount": mount}).encode()], [fd])
    os.close(fd)


def _start_zygote(
    plan: dict[str, Any], binds: list[tuple[str, int]], host_fd: int, mounts_fd: int, *, as_root: bool
) -> int:
    """Fork the zygote through a short-lived process that gives up root first; returns that process's pid."""
    pid = os.fork()
    if pid:
        return pid
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if as_root:
        os.setgroups([])
        os.setresgid(_UNPRIVILEGED, _UNPRIVILEGED, _UNPRIVILEGED)
        os.setresuid(_UNPRIVILEGED, _UNPRIVILEGED, _UNPRIVILEGED)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    user, group = os.geteuid(), os.getegid()
    child = syscalls.clone(syscalls.ALL_NAMESPACES)
    if child:
        for fd in (host_fd, mounts_fd):
            os.close(fd)
        os.waitpid(child, 0)
        os._exit(0)
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        syscalls.map_ids(0, user, group)
        proc = _build_root(plan, binds)
        _exec_zygote({**plan["zygote"], "proc": proc, "clone_flags": syscalls.ALL_NAMESPACES}, host_fd, mounts_fd)
    except BaseException as error:
        frames.write_frame(host_fd, {"op": "refused", "message": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(1)


def _start_plain(config: dict[str, Any], zygote_fd: int, mounts_fd: int, *ours: int) -> None:
    """The zygote without namespaces: limits, seccomp and Landlock only. Root becomes somebody else all the same."""
    if os.fork():
        return
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        for fd in ours:
            os.close(fd)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(_UNPRIVILEGED, _UNPRIVILEGED, _UNPRIVILEGED)
            os.setresuid(_UNPRIVILEGED, _UNPRIVILEGED, _UNPRIVILEGED)
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        _exec_zygote({**config, "proc": True, "clone_flags": 0}, zygote_fd, mounts_fd)
    except OSError as error:
        frames.write_frame(zygote_fd, {"op": "refused", "message": str(error)})
    finally:
        os._exit(1)


def _build_root(plan: dict[str, Any], binds: list[tuple[str, int]]) -> bool:
    """Assemble and enter the new root; whether it has a /proc."""
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("root", plan["root"], "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=1m,mode=755")
    os.chdir(plan["root"])
    for name in ("proc", "dev", "etc", "data", "work", "store"):
        os.mkdir(name)
    for bind, (target, fd) in zip(plan["binds"], binds, strict=True):
        _mount_point(target.lstrip("/"), directory=bind["directory"])
        syscalls.attach(os.dup(fd), target.lstrip("/"))
        os.close(fd)
    for target in plan["empty"]:
        syscalls.mount("empty", target.lstrip("/"), "tmpfs", syscalls.MS_RDONLY, "size=4k,nr_inodes=2,mode=555")
    for target, source in plan["links"].items():
        os.symlink(source, target.lstrip("/"))
    for target, text in plan["texts"].items():
        with open(target.lstrip("/"), "w") as file:
            file.write(text)
    syscalls.mount("store", "store", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=50%,mode=755")
    try:
        syscalls.mount("proc", "proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
        proc = True
    except PermissionError:
        proc = False  # a container that masks parts of its /proc does not let a new one show them
    syscalls.LIBC.sethostname(b"sandbox", 7)
    syscalls.pivot_root(plan["root"])
    flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("none", "/", flags=flags)
    return proc


def _mount_point(path: str, *, directory: bool) -> None:
    os.makedirs(path if directory else os.path.dirname(path) or ".", exist_ok=True)
    if not directory and not os.path.exists(path):
        with open(path, "x"):
            pass


def _exec_zygote(config: dict[str, Any], host_fd: int, mounts_fd: int) -> None:
    """Replace the program, so that every path the interpreter knows is one of the new root."""
    read_end, write_end = os.pipe()
    os.write(write_end, json.dumps(config).encode())
    os.close(write_end)
    for fd in (host_fd, mounts_fd, read_end):
        os.set_inheritable(fd, True)
    start = (
        f"import json,os,sys; sys.path.append({config['runner']!r}); import inside.zygote as z; "
        f"z.main(json.loads(os.read({read_end}, 1 << 20)), {host_fd}, {mounts_fd})"
    )
    arguments = [*config.get("wrap", ()), config["python"], "-s", "-S", "-P", "-B", "-c", start]
    os.execve(arguments[0], arguments, config["loader_environment"])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
