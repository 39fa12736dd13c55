# ruff: noqa: E501  (attack rows are kept on one line each)
"""Attacks as table rows: each says what it tries, and none may get through; afterwards the sandbox must still answer.

Numbers are those of the list of hostile behaviours in docs/sandboxes.md. A row's code calls ``attempt(name, act)`` for
each thing it tries; the harness itself is tested first, on things that are allowed.
"""

import platform
import re
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Row:
    """One attack: numbers in the list, a name, and code whose every ``attempt`` must be denied."""

    numbers: tuple[int, ...]
    name: str
    code: str
    attempts: int


FILES = [
    Row((1,), "write-outside", """
for path in ("/x", "/usr/x", "/etc/x", "/opt/x", "/data/x", "/dev/x", "/proc/x", "/opt/site/pandas/x"):
    attempt(path, lambda: open(path, "w"))
""", 8),
    Row((2, 49, 56), "read-secrets", """
for path in ("/root", "/root/.ssh", "/home", "/etc/shadow", "/var/run/docker.sock", "/run/docker.sock", "/work/shared",
             "/work/main", "/store", "/old", "/host", "/proc/1/environ", "/proc/1/mem", "/proc/1/root", "/proc/1/fd/3",
             "/proc/1/cwd", "/proc/kcore", "/proc/kmsg"):
    attempt(path, lambda: (os.listdir(path)[0] if os.path.isdir(path) else open(path, "rb").read(10)))
""", 18),
    Row((3,), "symlink-out", """
os.symlink("/usr", "u"); os.symlink("/root", "r"); os.symlink("/data", "d")
attempt("write", lambda: open("u/x", "w"))
attempt("read", lambda: os.listdir("r")); attempt("data", lambda: open("d/x", "w"))
""", 3),
    Row((4,), "hard-link-and-rename", """
attempt("link", lambda: os.link("/usr/bin/env", "env")); attempt("rename", lambda: os.rename("/data", "/data2"))
attempt("replace", lambda: os.rename("/work", "/tmp/w")); attempt("rmdir", lambda: os.rmdir("/store"))
""", 4),
    Row((10, 49), "devices-and-setuid", """
import stat, subprocess
attempt("mknod", lambda: os.mknod("disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0)))
attempt("mem", lambda: open("/dev/mem", "rb")); attempt("sda", lambda: open("/dev/vda", "rb"))
attempt("chown", lambda: os.chown(".", 0, 0)); attempt("setuid", lambda: os.setuid(0))
attempt("su", lambda: subprocess.run(["su", "-c", "id"], check=True, stdin=subprocess.DEVNULL, capture_output=True))
""", 6),
    Row((11,), "kernel-settings", """
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger", "/dev/kmsg",
             "/sys/kernel/uevent_helper", "/proc/self/uid_map", "/proc/1/oom_score_adj"):
    attempt(path, lambda: os.write(os.open(path, os.O_WRONLY), b"0"))
""", 7),
]  # fmt: skip

KERNEL = [
    Row((45,), "sockets-of-every-family", """
import socket
for family, kind in ((1, 1), (2, 1), (2, 2), (2, 3), (10, 1), (10, 2), (16, 3), (17, 3), (38, 5), (40, 1), (44, 3)):
    attempt(f"family {family} kind {kind}", lambda: socket.socket(family, kind))
""", 11),
    Row((43, 48), "connect", """
import socket, urllib.request
for address in (("1.1.1.1", 53), ("169.254.169.254", 80), ("127.0.0.1", 22), ("::1", 22)):
    attempt(str(address), lambda: socket.create_connection(address, 1))
attempt("dns", lambda: socket.getaddrinfo("example.org", 80))
attempt("http", lambda: urllib.request.urlopen("http://1.1.1.1", timeout=1))
""", 6),
    Row((46,), "namespaces-and-mounts", """
for name, number, args in (
        ("unshare", 272, (0x10000000,)), ("clone", 56, (0x10000000 | 17, 0, 0, 0, 0)), ("clone3", 435, (0, 88)),
        ("setns", 308, (0, 0)), ("mount", 165, (0, 0, 0, 0, 0)), ("umount2", 166, (0, 0)),
        ("pivot_root", 155, (0, 0)),
        ("chroot", 161, (0,)), ("open_tree", 428, (0, 0, 0)), ("move_mount", 429, (0, 0, 0, 0, 0)), ("fsopen", 430, (0, 0))):
    attempt(name, lambda: syscall(number, *args))
""", 11),
    Row((46,), "kernel-programs-and-keys", """
for name, number in (("bpf", 321), ("io_uring_setup", 425), ("userfaultfd", 323), ("keyctl", 250), ("add_key", 248),
        ("perf_event_open", 298), ("kexec_load", 246), ("init_module", 175), ("finit_module", 313), ("reboot", 169),
        ("pidfd_getfd", 438), ("open_by_handle_at", 304), ("personality", 135), ("syslog", 103), ("swapon", 167),
        ("iopl", 172), ("settimeofday", 164), ("quotactl", 179), ("acct", 163), ("fanotify_init", 300)):
    attempt(name, lambda: syscall(number, 0, 0, 0, 0, 0))
""", 20),
    Row((20, 46), "other-processes", """
for name, number, args in (("ptrace", 101, (16, 1, 0, 0)), ("process_vm_readv", 310, (1, 0, 0, 0, 0, 0)),
        ("process_vm_writev", 311, (1, 0, 0, 0, 0, 0)), ("prlimit", 302, (1, 0, 0, 0)), ("kcmp", 312, (1, 1, 0, 0, 0))):
    attempt(name, lambda: syscall(number, *args))
attempt("mem", lambda: open("/proc/1/mem", "r+b")); attempt("fds", lambda: os.readlink("/proc/1/fd/3"))
""", 7),
    Row((27,), "memory-nobody-is-charged-for", """
attempt("memfd", lambda: os.memfd_create("x")); attempt("shmget", lambda: syscall(29, 0, 1 << 20, 0o600))
attempt("msgget", lambda: syscall(68, 1, 0o1600)); attempt("semget", lambda: syscall(64, 1, 1, 0o1600))
attempt("mlock", lambda: syscall(149, id(b""), 1 << 20)); attempt("memfd_secret", lambda: syscall(447, 0))
""", 6),
]  # fmt: skip


def test_the_harness_sees_what_is_open(world: Any) -> None:
    code = """
attempt("write", lambda: open("/work/x", "w")); attempt("tmp", lambda: open("/tmp/x", "w"))
attempt("shm", lambda: open("/dev/shm/x", "w")); attempt("read", lambda: open("/usr/bin/env", "rb").read(4))
attempt("getpid", lambda: syscall(39)); attempt("null", lambda: open("/dev/null", "w"))
import threading, subprocess, socket
attempt("thread", lambda: threading.Thread(target=int).start())
attempt("fork", lambda: subprocess.run(["true"], check=True))
attempt("socketpair", socket.socketpair)
"""
    (result,) = world.cells(code)
    assert result.stdout.count(": OPEN") == 9, result


@pytest.mark.parametrize("row", [*FILES, *KERNEL], ids=lambda row: f"{row.name}-{'-'.join(map(str, row.numbers))}")
def test_denied(world: Any, row: Row) -> None:
    if row in KERNEL and platform.machine() != "x86_64":
        pytest.skip("the table's system call numbers are those of x86-64")
    attack, after = world.cells(row.code, "1 + 1")
    assert attack.status == "ok", attack
    assert "OPEN" not in attack.stdout, attack.stdout
    assert len(re.findall(r": denied ", attack.stdout)) == row.attempts, attack.stdout
    assert after.stdout == "2\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code of x86-64")
@pytest.mark.parametrize(
    "code",
    [
        "import mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()",
        "syscall(0x40000000 + 39)",
    ],
    ids=["i386", "x32"],
)
def test_foreign_system_calls_kill_the_caller(world: Any, code: str) -> None:
    attack, after = world.cells(code, "1 + 1")
    assert (attack.status, attack.state_lost) == ("crashed", True)
    assert "signal 31" in attack.error_message
    assert after.stdout == "2\n"
