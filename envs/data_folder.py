"""Where the user's data lies: folders under ``$MED_COPILOT_DATA``, files plain or gzipped, names in any case.

A missing folder or file is one error that names what is missing, where it was looked for and what to do.
"""

import gzip
import io
import json
import logging
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from copilot.errors import DataError

_log = logging.getLogger(__name__)


def data_root(source: str) -> Path:
    """The folder that ``MED_COPILOT_DATA`` names.

    Raises:
        DataError: The variable is unset.
    """
    parent = os.environ.get("MED_COPILOT_DATA")
    if not parent:
        raise DataError(
            f"{source} needs its data, and MED_COPILOT_DATA is not set",
            remedy=f"set it to a folder of data; med-copilot tasks fetch {source} says what goes there",
        )
    return Path(parent).absolute()


def find_folder(source: str, names: Sequence[str]) -> Path:
    """The first of ``names`` that is a folder under ``$MED_COPILOT_DATA``.

    Raises:
        DataError: None of them is there.
    """
    root = data_root(source)
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DataError(
        f"no folder with {source}'s data",
        where=root,
        remedy=f"one of {', '.join(names)} must be there; med-copilot tasks fetch {source} says how to get it",
    )


def existing(path: Path) -> Path | None:
    """``path``, or the same with ``.gz``, or either under another case of the file's name; ``None``: not there."""
    if not path.parent.is_dir():
        return None
    wanted = {path.name.lower(), path.name.lower() + ".gz"}
    found = sorted(p for p in path.parent.iterdir() if p.name.lower() in wanted)
    return min(found, key=lambda p: p.name != path.name, default=None)


def find_files(folders: Sequence[Path], names: Sequence[str], *, what: str, remedy: str) -> dict[str, Path]:
    """The files called ``names`` (without ``.csv``), from the folder that has most of them.

    Args:
        folders: Where to look, in order of preference.
        names: All of them must be there.
        what: What lacks them, for the error.
        remedy: What to do about it.

    Raises:
        DataError: Files are missing; all are named.
    """
    found = [{name: path for name in names if (path := existing(folder / f"{name}.csv"))} for folder in folders]
    best = max(found, key=len)
    missing = [f"{name}.csv.gz" for name in names if name not in best]
    if missing:
        where = next(iter(best.values())).parent if best else folders[0]
        raise DataError(
            f"{what} lacks {len(missing)} of {len(names)} tables: {', '.join(missing)}", where=where, remedy=remedy
        )
    return best


def open_text(path: Path) -> IO[str]:
    """A text file: plain, gzipped, or the member of a zip that has the zip's own name (``a.csv`` in ``a.csv.zip``).

    Raises:
        DataError: The zip is none, or has no such member.
    """
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    if path.suffix != ".zip":
        return open(path, encoding="utf-8", newline="")
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"not readable as zip: {error}", where=path, remedy="get the file anew") from error
    members = [name for name in archive.namelist() if name.rpartition("/")[2] == path.stem]
    if not members:
        raise DataError(f"{path.stem} is not in it", where=path, remedy="get the file anew")
    return io.TextIOWrapper(archive.open(members[0]), encoding="utf-8", newline="")


def read_json(path: Path) -> Any:
    """A JSON file, gzipped or not.

    Raises:
        DataError: It is no JSON.
    """
    try:
        with open_text(path) as file:
            return json.load(file)
    except (ValueError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"not readable as JSON: {error}", where=path, remedy="get the file anew") from error


def read_json_lines(path: Path, *, malformed: list[int]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; the numbers of lines that hold none go to ``malformed`` and are logged.

    Raises:
        DataError: The file cannot be read to its end.
    """
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = _object(line)
                if record is None:
                    malformed.append(number)
                    _log.warning("%s, line %d skipped: no JSON object", path, number)
                else:
                    yield record
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"not readable: {error}", where=path, remedy="get the file anew") from error


def _object(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # a broken line is counted by the caller
        return None
    return record if isinstance(record, dict) else None
