"""The trajectory store: a folder of append-only JSONL shards that survives ``kill -9`` at any byte.

Decision: a trajectory is there when its line ends with a newline, and a line is written by one append followed by
fsync. Invariant: complete lines are never touched again, so they stay byte-identical over crashes; a half-written last
line is skipped and reported by readers, and moved aside into ``SHARD.broken`` by the next writer of the shard.
"""

import fcntl
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from copilot.data.trajectory import Trajectory
from copilot.errors import DataError
from copilot.version import SCHEMA_VERSION

log = logging.getLogger(__name__)


@dataclass
class StoreReport:
    """What a reader met: ``lines == kept + duplicates + retried + bad + half + foreign`` once it has finished."""

    lines: int = 0
    """Lines seen, half-written ones included."""
    kept: int = 0
    """Trajectories yielded."""
    duplicates: int = 0
    """Finished lines whose (task, attempt) was already there; the first one counts."""
    retried: int = 0
    """Masked samples replaced by a finished one, or by another masked one of the same (task, attempt)."""
    bad: int = 0
    """Complete lines that are no trajectory."""
    half: int = 0
    """Half-written last lines: nothing but the trajectory being written when the run was killed."""
    foreign: Counter[str] = field(default_factory=Counter)
    """Lines of other schema versions, by version."""
    problems: list[str] = field(default_factory=list)
    """Where the bad and half lines are, ``FILE:LINE what``; the first twenty."""

    def note(self, path: Path, number: int, what: str) -> None:
        """Remember where a line is that could not be read, and say so in the log."""
        log.warning("%s:%d %s", path, number, what)
        if len(self.problems) < 20:
            self.problems.append(f"{path}:{number} {what}")

    def as_dict(self) -> dict[str, Any]:
        """The counts as JSON."""
        counts = {name: value for name, value in vars(self).items() if name not in ("foreign", "problems")}
        return {**counts, "foreign": dict(self.foreign), "problems": list(self.problems)}


class TrajectoryWriter:
    """Appends to one shard; the only writer of it.

    Args:
        path: The shard, ``FOLDER/rankN.jsonl``; folders are made.

    Raises:
        DataError: Another process is writing this shard.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.rescued_bytes = 0
        """Size of the half-written line moved aside on opening."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock()
            self._rescue_half_line()
            _sync_folder(self.path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, trajectory: Trajectory) -> None:
        """Write one line and wait until it is on disk.

        Raises:
            OSError: The disk is full or gone; what was written of the line is taken back.
        """
        line = encode(trajectory)
        before = os.fstat(self._fd).st_size
        try:
            _write_all(self._fd, line)
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, before)
            raise

    def close(self) -> None:
        """Let go of the shard; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                "another process is writing this shard", where=self.path, remedy="wait for that run, or end it"
            ) from error

    def _rescue_half_line(self) -> None:
        """Move what follows the last newline aside; the copy is on disk before the original is cut off."""
        end = _end_of_lines(self._fd)
        tail = os.pread(self._fd, os.fstat(self._fd).st_size - end, end)
        if not tail:
            return
        aside = self.path.with_suffix(".broken")
        with open(aside, "ab") as file:
            file.write(tail + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.ftruncate(self._fd, end)
        os.fsync(self._fd)
        self.rescued_bytes = len(tail)
        log.warning("%s: moved a half-written line of %d bytes to %s", self.path, len(tail), aside.name)


def encode(trajectory: Trajectory) -> bytes:
    """A trajectory as one line, newline included; lone surrogates (hostile answers) become U+FFFD, NaN null."""
    try:
        return trajectory.model_dump_json().encode() + b"\n"
    except PydanticSerializationError:
        clean = Trajectory.model_validate(_without_surrogates(trajectory.model_dump()))
        return clean.model_dump_json().encode() + b"\n"


def shards(path_or_folder: str | os.PathLike[str]) -> list[Path]:
    """The files of a store, sorted by name.

    Raises:
        DataError: There is no such file, or the folder holds no shard.
    """
    path = Path(path_or_folder)
    if path.is_file():
        return [path]
    found = sorted(path.glob("*.jsonl"))
    if not found:
        what = "trajectory folder has no *.jsonl shard" if path.is_dir() else "no such trajectory file or folder"
        raise DataError(what, where=path, remedy="point to the output folder of a sample stage, or run it first")
    return found


def read_trajectories(
    path_or_folder: str | os.PathLike[str], *, report: StoreReport | None = None
) -> Iterator[Trajectory]:
    """Yield each (task, attempt) of a store once, in the order of its shards.

    The first finished trajectory of a key counts. A masked one is yielded, after all others, only when no retry of it
    finished.

    Args:
        path_or_folder: A shard, or a folder of shards.
        report: Filled with counts while reading.

    Raises:
        DataError: Nothing there; or, after everything readable was yielded, lines of another schema version.
    """
    report = StoreReport() if report is None else report
    finished: set[tuple[str, int]] = set()
    masked: dict[tuple[str, int], Trajectory] = {}
    for path in shards(path_or_folder):
        for trajectory in _read_shard(path, report):
            key = trajectory.key
            if key in finished:
                report.retried += trajectory.masked
                report.duplicates += not trajectory.masked
            elif trajectory.masked:
                report.retried += key in masked
                masked[key] = trajectory
            else:
                finished.add(key)
                report.retried += masked.pop(key, None) is not None
                report.kept += 1
                yield trajectory
    report.kept += len(masked)
    yield from masked.values()
    if report.foreign:
        counts = ", ".join(f"{count} of version {version}" for version, count in sorted(report.foreign.items()))
        raise DataError(
            f"trajectories of another schema: {counts}; {report.kept} of version {SCHEMA_VERSION} could be read",
            where=path_or_folder,
            remedy="read them with the release that wrote them, or sample again into another folder",
        )


def finished_keys(folder: str | os.PathLike[str]) -> set[tuple[str, int]]:
    """The (task, attempt) pairs that need no work: all but masked samples. An absent or empty folder has none."""
    path = Path(folder)
    if not path.is_file() and not any(path.glob("*.jsonl")):
        return set()
    return {t.key for t in read_trajectories(path) if not t.masked}


def _read_shard(path: Path, report: StoreReport) -> Iterator[Trajectory]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            report.lines += 1
            if not line.endswith(b"\n"):
                report.half += 1
                report.note(path, number, f"half-written line of {len(line)} bytes skipped")
                continue
            trajectory = _decode(line, path, number, report)
            if trajectory is not None:
                yield trajectory


def _decode(line: bytes, path: Path, number: int, report: StoreReport) -> Trajectory | None:
    """The line's trajectory, or ``None`` with the reason counted."""
    try:
        trajectory = Trajectory.model_validate_json(line)
    except ValidationError as error:
        version = _version(line)
        if version is not None and version != SCHEMA_VERSION:
            report.foreign[str(version)] += 1
        else:
            report.bad += 1
            report.note(path, number, f"no trajectory: {error.errors()[0]['msg']:.120}")
        return None
    if trajectory.schema_version != SCHEMA_VERSION:
        report.foreign[str(trajectory.schema_version)] += 1
        return None
    return trajectory


def _version(line: bytes) -> object:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record.get("schema_version") if isinstance(record, dict) else None


def _end_of_lines(fd: int) -> int:
    """Offset just after the last newline of a file, 0 when it has none; read backwards in blocks."""
    position, block = os.fstat(fd).st_size, 1 << 16
    while position > 0:
        start = max(0, position - block)
        found = os.pread(fd, position - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not value.isascii() else value
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
