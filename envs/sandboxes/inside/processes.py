"""The processes of one episode: who they are, what memory they hold, and how to end them.

As pid 1 of a pid namespace the supervisor owns everything it can see. Without one it owns its descendants: it is their
subreaper, so that even a double fork with ``setsid`` stays below it.
"""

import os
import signal
import time

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(pid: int | str) -> int:
    """Anonymous resident memory of a process, in bytes; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE


def address_space() -> int:
    """Virtual size of this process, in bytes; 0 without /proc."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * _PAGE
    except OSError:
        return 0


class Family:
    """All processes of the episode but the supervisor itself.

    Args:
        counter: Descriptor of /proc/loadavg, which ends with the last pid given out in the reader's pid namespace.
    """

    def __init__(self, counter: int | None = None) -> None:
        self.me = os.getpid()
        self.owns_all = self.me == 1
        self.visible = os.path.exists("/proc/self/stat")
        self.counter = counter

    def only(self, pid: int) -> bool:
        """Whether certainly no process or thread was made after the living process ``pid``; false if unsure.

        Nobody can turn the kernel's count back to ``pid`` by going once around: that number is taken.
        """
        return self.counter is not None and os.pread(self.counter, 64, 0).endswith(b" %d\n" % pid)

    def members(self) -> list[int]:
        """Their pids; empty when there is no /proc to see them in."""
        if not self.visible:
            return []
        if not self.owns_all and os.path.exists(f"/proc/{self.me}/task/{self.me}/children"):
            return _descendants(self.me)
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        if self.owns_all:
            return [pid for pid in pids if pid != self.me]
        parents = {pid: _stat(pid)[1] for pid in pids}
        found: list[int] = []
        layer = {self.me}
        while layer:
            layer = {pid for pid, parent in parents.items() if parent in layer}
            found += layer
        return found

    def end(self, keep: int | None = None) -> bool:
        """Kill all, or all but ``keep``; whether that succeeded."""
        if keep is None and self.owns_all:
            _kill(-1)
        for turn in range(400):
            others = [pid for pid in self.members() if pid != keep]
            if keep is None:
                self.reap(None)
            elif others:
                others = [pid for pid in others if _stat(pid)[0] not in "ZX"]
                self.reap(keep)  # after the look, so that all it found dead are buried
            if not others:
                return True
            for pid in others:
                _kill(pid)
            time.sleep(0 if turn < 10 else 0.002)
        return False

    def reap(self, keep: int | None = None) -> None:
        """Bury the dead, except ``keep``, whose status its owner wants to read."""
        for pid in self.members() if keep is not None else [-1]:
            while pid != keep:
                try:
                    if os.waitpid(pid, os.WNOHANG)[0] == 0:
                        break
                except ChildProcessError:
                    break


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        return found
    return found + [below for child in found for below in _descendants(child)]


def _stat(pid: int) -> tuple[str, int]:
    """State letter and parent of a process; dead when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except OSError:
        return "X", -1
    return state.decode(), int(parent)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
