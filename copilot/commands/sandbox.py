"""``med-copilot sandbox``: what isolates model code on this machine, and the image for the Docker backend."""

import asyncio
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from copilot.envs.sandboxes import DockerConfig, Isolation, SandboxConfig, make_backend
from copilot.errors import SandboxError

_ADVICE = {
    "namespaces": "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that allows unshare and mount",
    "seccomp": "a kernel with CONFIG_SECCOMP_FILTER",
}


@click.group()
def COMMAND() -> None:
    """Sandboxes for model-written code."""


@COMMAND.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON lines.")
def doctor(as_json: bool) -> None:
    """Start every backend and print the isolation it reaches, property by property."""
    console = Console()
    for name, config in _candidates().items():
        isolation, failure = asyncio.run(_examine(config))
        if as_json:
            click.echo(isolation.model_dump_json() if isolation else f'{{"backend": "{name}", "level": "none"}}')
            continue
        table = Table("property", "observed", title=f"{name}: {isolation.level if isolation else 'not available'}")
        for key, value in isolation.properties.items() if isolation else ():
            table.add_row(key, value)
        console.print(table if isolation else f"[bold]{name}[/bold]: not available")
        for line in _advice(isolation, failure):
            console.print(f"  do: {line}", highlight=False)


def _candidates() -> dict[str, SandboxConfig]:
    return {
        "local": SandboxConfig(require="none"),
        "docker": SandboxConfig(type="docker", require="none", docker=DockerConfig(warm=1)),
        "docker (shared)": SandboxConfig(type="docker", require="none", docker=DockerConfig(mode="shared", warm=1)),
    }


async def _examine(config: SandboxConfig) -> tuple[Isolation | None, SandboxError | None]:
    backend = make_backend(config)
    try:
        return await backend.start(), None
    except SandboxError as error:
        return None, error
    finally:
        await backend.close()


def _advice(isolation: Isolation | None, failure: SandboxError | None) -> list[str]:
    if failure is not None:
        return [failure.what, *([failure.remedy] if failure.remedy else [])]
    if isolation is None or isolation.level in ("namespaces", "container"):
        return []
    return list(_ADVICE.values())


@COMMAND.command("build-image")
@click.option("--name", default=DockerConfig().image, show_default=True, help="Tag of the image.")
@click.option("--base", default="", help="Base image with python3; default: pull one, or debootstrap.")
def build_image(name: str, base: str) -> None:
    """Build the image of the Docker backend on the engine that DOCKER_HOST names."""
    from copilot.envs.sandboxes.images import build_image as build

    click.echo(build(_client(), name, base=base, say=click.echo))


@COMMAND.command()
def sweep() -> None:
    """Remove sandbox containers whose owners are dead."""
    from copilot.envs.sandboxes.docker import sweep as remove

    click.echo(f"{remove(_client())} containers removed")


def _client() -> Any:
    try:
        import docker
        import docker.errors
    except ImportError as error:
        raise SandboxError("the Docker SDK is not installed", remedy="pip install docker") from error
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        raise SandboxError(f"no Docker engine answers: {error}", remedy="start dockerd, or set DOCKER_HOST") from error
    return client
