"""An episode's memory as one sum that the kernel holds: every process, tmpfs file, pipe and socket buffer together.

A cgroup per episode, where this process may make one (root, mostly; version 1 or 2). It bounds from above what the
supervisor's watchdog, which looks every 25 ms and gives the verdict "memory", may have missed. The episode enters
through a descriptor opened here, so that neither it nor its zygote can see the tree or make a cgroup.
"""

import itertools
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_PREFIX = "med-copilot-"
_numbers = itertools.count(1)
_SPARE = 64 << 20
"""What the supervisor itself and the kernel's bookkeeping may take."""


class Cgroups:
    """The cgroups of one backend's episodes.

    Args:
        limit: Bytes an episode may hold.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit + limit // 4 + _SPARE
        self._folder: Path | None = None
        self._file = ""

    def start(self) -> str:
        """Find where cgroups can be made; what was reached, in words."""
        for folder, file in ((_first_version(), "memory.limit_in_bytes"), (ROOT, "memory.max")):
            try:
                return self._try(folder / f"{_PREFIX}{os.getpid()}-{next(_numbers)}", file)
            except OSError:
                continue  # no right, no such controller: the next version, or none
        return "no cgroup can be made"

    def _try(self, folder: Path, file: str) -> str:
        _sweep(folder.parent)
        folder.mkdir()
        try:
            (folder / "cgroup.procs").stat()  # not there: a plain folder of some other file system
            if file == "memory.max":
                (folder / "cgroup.subtree_control").write_text("+memory")
            self._folder, self._file = folder, file
            os.close(self.enter("probe"))
            held = (folder / "probe" / file).read_text().strip()
            self.leave("probe")
        except OSError:
            self._folder = None
            _remove(folder)
            raise
        return f"cgroup of {held} bytes"

    def enter(self, name: str) -> int:
        """A new cgroup's ``cgroup.procs``: whoever writes 0 to it is in; -1 where there are none."""
        if self._folder is None:
            return -1
        folder = self._folder / name
        folder.mkdir()
        (folder / self._file).write_text(str(self.limit))
        return os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    def leave(self, name: str) -> None:
        """Remove an episode's cgroup, whose processes are dead."""
        if self._folder is not None:
            _remove(self._folder / name)

    def close(self) -> None:
        """Remove all."""
        if self._folder is not None:
            _remove(self._folder)
            self._folder = None


def _first_version() -> Path:
    """This process's place in the memory hierarchy of version 1."""
    table = Path("/proc/self/cgroup")
    for line in table.read_text().splitlines() if table.exists() else ():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            own = ROOT / "memory" / path.lstrip("/")
            return own if own.is_dir() else ROOT / "memory"
    return ROOT / "memory"


def _sweep(parent: Path) -> None:
    """Remove what hosts left that were killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            _remove(folder)


def _remove(folder: Path) -> None:
    for child in (path for path in folder.glob("*") if path.is_dir()):
        _remove(child)
    try:
        folder.rmdir()
    except OSError:
        return  # gone, or a process is still dying in it: the next sweep
