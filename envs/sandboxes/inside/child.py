"""What happens between fork and first instruction in the processes that run model code."""

import os
import resource
import signal
from dataclasses import dataclass, field

from . import landlock, seccomp, syscalls
from .interpreter import Interpreter

_STACK = 8 << 20
_SINKS = ("/dev/null", "/dev/zero", "/dev/full")


@dataclass
class ChildSettings:
    """What an episode's processes are bound by."""

    memory: int
    """Bytes of memory on top of what the preloaded libraries hold."""
    address_space: int
    """Bytes of address space the preloaded libraries hold."""
    processes: int
    disk: int
    output_chars: int
    seed: int
    preamble: str = ""
    writable: list[str] = field(default_factory=list)
    """Task files that are copied to the working directory."""
    work: str = "/work"
    data: str = "/data"
    readable: list[str] = field(default_factory=list)
    """Where no mount namespace hides the rest: what Landlock lets the children read."""
    user: int | None = None
    """Who the children become; ``None``: they stay who they are."""
    environment: dict[str, str] = field(default_factory=dict)


def run_interpreter(settings: ChildSettings, code: bytes, pipes: list[int]) -> None:
    """Become the interpreter. ``pipes``: stdout, stderr, requests, replies."""
    _confine(settings, code, pipes)
    os.environ.clear()
    os.environ.update(settings.environment)
    Interpreter(pipes[2], pipes[3], settings.data).serve()
    os._exit(0)


def run_command(command: str, settings: ChildSettings, code: bytes, pipes: list[int]) -> None:
    """Become ``/bin/sh -c command``. ``pipes``: stdout, stderr."""
    _confine(settings, code, pipes)
    for number in (signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.execve("/bin/sh", ["sh", "-c", command], settings.environment)


def _confine(settings: ChildSettings, code: bytes, pipes: list[int]) -> None:
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    for target, source in enumerate((null, *pipes[:2])):
        os.dup2(source, target)
    for fd in (null, *pipes[:2]):
        os.close(fd)
    lowest = 3
    for fd in sorted(pipes[2:]):
        os.closerange(lowest, fd)
        lowest = fd + 1
    os.closerange(lowest, 1024)
    os.umask(0o077)
    limit(settings)
    if settings.user is not None:
        os.setgroups([])
        os.setresgid(settings.user, settings.user, settings.user)
        os.setresuid(settings.user, settings.user, settings.user)
    os.chdir(settings.work)
    for name in (".tmp", ".shm"):
        os.makedirs(name, 0o700, exist_ok=True)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if landlock.version():
        shared = [] if settings.readable else ["/dev/shm"]
        landlock.restrict(settings.readable or ["/"], [settings.work, *_SINKS, *shared])
    if settings.readable:
        code = seccomp.program(only=os.getpid())
    seccomp.install(code)


def limit(settings: ChildSettings) -> None:
    """Set the resource limits of this process and its children."""
    for name, value in (
        (resource.RLIMIT_AS, settings.address_space + settings.memory + _STACK),
        # Outside a user namespace of its own, a user is counted over the whole host: others do this there.
        (
            resource.RLIMIT_NPROC,
            resource.RLIM_INFINITY if settings.user or settings.readable else settings.processes + 1,
        ),
        (resource.RLIMIT_FSIZE, settings.disk),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_STACK, _STACK),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(name)[1]
        bound = (
            value if hard == resource.RLIM_INFINITY else hard if value == resource.RLIM_INFINITY else min(value, hard)
        )
        resource.setrlimit(name, (bound, bound))
