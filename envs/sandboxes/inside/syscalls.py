"""The system calls that Python has no binding for, through ctypes; every failure raises ``OSError``.

Linux only (x86-64 and aarch64). ``clone`` here is a fork with namespaces: the child runs on a copy of the memory,
without glibc's fork handlers, so it must fork once more with ``os.fork`` before it runs anything it did not import.
"""

import ctypes
import os
import platform
import signal

LIBC = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
ALL_NAMESPACES = (
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 22, 36, 47

MACHINE = platform.machine()
_NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capset": 126, "open_tree": 428, "move_mount": 429, "setattr": 442},
    "aarch64": {"clone": 220, "pivot_root": 41, "capset": 91, "open_tree": 428, "move_mount": 429, "setattr": 442},
}[MACHINE if MACHINE in ("x86_64", "aarch64") else "x86_64"]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, *args: int | bytes | ctypes.c_void_p) -> int:
    """A raw system call by name of :data:`_NUMBERS`."""
    wide = [
        ctypes.c_long(arg) if isinstance(arg, int) else ctypes.c_char_p(arg) if isinstance(arg, bytes) else arg
        for arg in args
    ]
    return _checked(int(LIBC.syscall(ctypes.c_long(_NUMBERS[what]), *wide)), what)


def clone(flags: int) -> int:
    """Fork into new namespaces; 0 in the child, its pid in the parent."""
    return syscall("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)


def unshare(flags: int) -> None:
    """Leave namespaces for new ones."""
    _checked(LIBC.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """``mount(2)``."""
    raw = [ctypes.c_char_p(text.encode()) for text in (source, target, kind)]
    result = LIBC.mount(raw[0], raw[1], raw[2], ctypes.c_ulong(flags), ctypes.c_char_p(options.encode()))
    _checked(result, f"mount {kind or source} on {target}")


def umount(target: str) -> None:
    """Detach a mount; it disappears at once from the tree."""
    _checked(LIBC.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str) -> None:
    """Make ``new_root`` the root and drop the old one altogether."""
    os.chdir(new_root)
    syscall("pivot_root", b".", b".")
    umount(".")
    os.chdir("/")


def open_tree(path: str, *, read_only: bool = True, devices: bool = False) -> int:
    """A detached copy of a path's mount, as a descriptor another process can attach with :func:`attach`."""
    fd = syscall("open_tree", AT_FDCWD, path.encode(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)
    attributes = MOUNT_ATTR_NOSUID | (MOUNT_ATTR_RDONLY if read_only else 0) | (0 if devices else MOUNT_ATTR_NODEV)
    block = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    pointer = ctypes.cast(block, ctypes.c_void_p)
    syscall("setattr", fd, b"", AT_EMPTY_PATH | AT_RECURSIVE, pointer, ctypes.sizeof(block))
    return fd


def attach(fd: int, target: str) -> None:
    """Attach a detached mount at an existing path and close the descriptor."""
    syscall("move_mount", fd, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)
    os.close(fd)


def prctl(option: int, value: int = 0, third: int = 0) -> None:
    """``prctl(2)``."""
    zero = ctypes.c_ulong(0)
    result = LIBC.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(third), zero, zero)
    _checked(result, f"prctl {option}")


def drop_capabilities() -> None:
    """Empty the bounding, ambient, permitted, effective and inheritable sets for good."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # EINVAL: past the last capability; EPERM: none held, nothing to drop
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    syscall("capset", ctypes.cast(header, ctypes.c_void_p), ctypes.cast(data, ctypes.c_void_p))


def map_ids(inner: int, outer_user: int, outer_group: int) -> None:
    """Give this process of a new user namespace its single user and group."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inner} {outer_user} 1"),
        ("gid_map", f"{inner} {outer_group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
