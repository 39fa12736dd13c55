"""Open files from their official places: written under their name only when their bytes are the published ones."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import httpx

from copilot.envs.sources.base import Download
from copilot.errors import DataError

_SECONDS = 60.0
_CHUNK = 1 << 20


def fetch_file(file: Download, target: Path) -> bool:
    """Bring a file to ``target``.

    Returns:
        Whether it was downloaded; ``False`` when it is there already, with the published bytes.

    Raises:
        DataError: Its place does not give it, or what came is not what was published; nothing is left behind.
    """
    check = _check_of(file)
    if target.is_file() and check(target):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _download(file.url, part)
        if not check(part):
            raise DataError(
                "the bytes are not the published ones (checksum differs)",
                where=file.url,
                remedy="try again; if it stays so, the file was changed at its place: report it",
            )
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return True


def _check_of(file: Download) -> Callable[[Path], bool]:
    if file.sha256:
        return lambda path: sha256_of(path) == file.sha256
    if file.git_blob:
        return lambda path: git_blob_of(path) == file.git_blob
    listed = _listed(file)
    return lambda path: sha256_of(path) == listed


def _listed(file: Download) -> str:
    """The file's sum in its publisher's list: lines of a sum and a path."""
    name = file.url.rpartition("/")[2]
    for line in _get(file.sums).text.splitlines():
        digest, _, path = line.strip().partition(" ")
        if path.strip().lstrip("*").rpartition("/")[2] == name:
            return digest
    raise DataError(f"the publisher's list has no sum of {name}", where=file.sums, remedy="report it")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_blob_of(path: Path) -> str:
    """The id that git gives a file: SHA-1 of a header with its size, and its bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _download(url: str, target: Path) -> None:
    try:
        plain = {"Accept-Encoding": "identity"}  # a .gz file is to stay one
        with httpx.stream("GET", url, timeout=_SECONDS, follow_redirects=True, headers=plain) as answer:
            answer.raise_for_status()
            with open(target, "wb") as out:
                out.writelines(answer.iter_raw(_CHUNK))
    except httpx.HTTPError as error:
        raise _unreachable(url, error) from error


def _get(url: str) -> httpx.Response:
    try:
        return httpx.get(url, timeout=_SECONDS, follow_redirects=True).raise_for_status()
    except httpx.HTTPError as error:
        raise _unreachable(url, error) from error


def _unreachable(url: str, error: Exception) -> DataError:
    return DataError(
        f"could not be fetched: {error}",
        where=url,
        remedy="check the connection, or fetch it by hand",
    )
