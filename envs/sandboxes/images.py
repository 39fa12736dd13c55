"""Builds the sandbox image: from a registry's python:3.X-slim where one can be reached, from debootstrap otherwise.

The context holds the scientific packages (installed by pip for the image's interpreter, wheels only) and the runner;
nothing else of the project. The image is labelled with the runner's hash, so that a stale image is noticed.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from copilot.envs.sandboxes import layout
from copilot.errors import SandboxError

LABEL = "org.med-copilot.sandbox.runner"
DEBIAN = "bookworm"
_MIRROR = "http://deb.debian.org/debian"
Say = Callable[[str], None]


def runner_hash() -> str:
    """Of the files that run inside; part of the image's label."""
    digest = hashlib.sha256()
    for path in sorted(layout.INSIDE.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def build_image(client: Any, name: str, *, base: str = "", say: Say) -> str:
    """Build and tag the image; returns its id.

    Args:
        client: A ``docker.DockerClient``.
        name: Tag.
        base: Base image present in the engine; empty: pull one, or make one with debootstrap.
        say: Told what happens.

    Raises:
        SandboxError: No base could be had, or the build failed.
    """
    import docker.errors

    base = base or _pull(client, say) or _bootstrap(client, say)
    version = _python_version(client, base)
    say(f"base {base}, Python {version}")
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        _install(version, context / "site", say)
        shutil.copytree(layout.INSIDE, context / "inside", ignore=shutil.ignore_patterns("__pycache__"))
        dockerfile = files("copilot.launch") / "docker" / "Dockerfile"
        (context / "Dockerfile").write_text(dockerfile.read_text())
        say("building")
        try:
            image, _ = client.images.build(
                path=folder, tag=name, rm=True, buildargs={"BASE": base, "RUNNER": runner_hash()}, network_mode="none"
            )
        except docker.errors.BuildError as error:
            log = "".join(str(line.get("stream", "")) for line in error.build_log)[-2000:]
            raise SandboxError(f"the image did not build: {error}\n{log}") from error
    return str(image.id)


def _pull(client: Any, say: Say) -> str:
    import docker.errors

    name = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    say(f"pulling {name}")
    try:
        client.images.pull(*name.split(":"))
    except docker.errors.APIError as error:
        say(f"no registry: {str(error)[:100]}")
        return ""
    return name


def _bootstrap(client: Any, say: Say) -> str:
    """A Debian root with python3, imported as an image; kept and used again."""
    import docker.errors

    name = f"med-copilot-base:{DEBIAN}"
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        pass
    else:
        return name
    if shutil.which("debootstrap") is None:
        raise SandboxError(
            "no registry can be reached and debootstrap is not installed",
            remedy="apt-get install debootstrap, or give a base image that the engine has with --base",
        )
    say(f"debootstrap {DEBIAN} (some minutes)")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        _run(["debootstrap", "--variant=minbase", "--include=python3", DEBIAN, str(root), _MIRROR])
        shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
        archive = Path(folder) / "root.tar"
        _run(["tar", "-C", str(root), "--exclude=./dev/*", "--exclude=./proc/*", "-cf", str(archive), "."])
        client.api.import_image_from_file(str(archive), repository="med-copilot-base", tag=DEBIAN)
    return name


def _python_version(client: Any, base: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    out: bytes = client.containers.run(base, ["python3", "-c", code], remove=True, network_mode="none")
    return out.decode().strip()


def _install(version: str, target: Path, say: Say) -> None:
    """The packages for the image's interpreter; the ones at hand when it is the same version."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        say("copying the installed packages")
        target.mkdir()
        for source in layout.site_entries():
            if source.is_dir():
                shutil.copytree(source, target / source.name, symlinks=True)
            else:
                shutil.copy2(source, target / source.name)
        return
    say("installing packages with pip")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), "--only-binary=:all:"]
    _run([*command, "--python-version", version, *layout.PACKAGES])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"{command[0]} failed: {done.stderr[-1000:] or done.stdout[-1000:]}")
