"""Runs a server and outlives neither it nor the one who asked: started by path, with the standard library alone.

``python -I -S guard.py PARENT_PID GRACE_SECONDS COMMAND...`` puts COMMAND into a process group of its own and ends
that whole group (SIGTERM, then SIGKILL after the grace) when it is told to by SIGTERM, when its parent is gone, even
by ``kill -9``, or when COMMAND itself ends. Its exit status is COMMAND's.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.2


def main(argv: list[str]) -> int:
    """Guard ``argv[2:]`` for the process ``argv[0]``."""
    parent, grace, command = int(argv[0]), float(argv[1]), argv[2:]
    told: list[int] = []

    def tell(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, tell)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_guard)
    while child.poll() is None and not told and os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    status = child.poll()
    _end_group(child, grace)
    return status if status is not None else 0


def _end_group(child: "subprocess.Popen[bytes]", grace: float) -> None:
    _signal_group(child.pid, signal.SIGTERM)
    end = time.monotonic() + grace
    while time.monotonic() < end and (child.poll() is None or _group_alive(child.pid)):
        time.sleep(0.05)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _end_with_guard() -> None:
    """In the child: should the guard itself be killed, the kernel ends the server."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
