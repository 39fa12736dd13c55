"""The docker backend on a real engine: files, state, pools, and nothing left after any death of the host."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot.envs.sandboxes import DockerConfig, SandboxConfig, SandboxLimits, SandboxSpec, make_backend
from copilot.errors import InfrastructureError, SandboxError

pytestmark = pytest.mark.docker
LIMITS = SandboxLimits(cell_seconds=20, memory_mb=256, processes=32, disk_mb=8)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """An engine with the image, or a skip that says why not."""
    docker = pytest.importorskip("docker")
    try:
        asyncio.run(_once())
    except SandboxError as error:
        pytest.skip(f"docker: {error.what}")
    found = docker.from_env()
    yield found
    found.close()


async def _once() -> None:
    backend = make_backend(_config("single"))
    await backend.start()
    await backend.close()


def _config(mode: str) -> SandboxConfig:
    return SandboxConfig(type="docker", require="container", limits=LIMITS, docker=DockerConfig(mode=mode, warm=1))  # type: ignore[arg-type]


def _mine(client: Any, run: str = "") -> int:
    label = "org.med-copilot.sandbox.owner"
    return len(
        client.containers.list(all=True, ignore_removed=True, filters={"label": f"{label}={run}" if run else label})
    )


@pytest.mark.parametrize("mode", ["single", "shared"])
def test_an_episode_with_files_state_and_values(client: Any, mode: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a\n1\n" + b"2\n" * 800_000)

    async def go() -> tuple[Any, ...]:
        backend = make_backend(_config(mode))
        isolation = await backend.start()
        try:
            async with await backend.open(SandboxSpec(files={"t.csv": tmp_path / "t.csv"})) as sandbox:
                first = await sandbox.execute("import pandas as pd\nn = int(pd.read_csv('/data/t.csv').a.sum())\nn")
                second = await sandbox.execute("open('/data/t.csv', 'a')")
                return isolation.level, first.stdout, second.status, await sandbox.value("n")
        finally:
            await backend.close()

    assert asyncio.run(go()) == ("container", "1600001\n", "error", 1600001)


@pytest.mark.parametrize("mode", ["single", "shared"])
def test_seed_preamble_and_copies_hold_before_and_after_a_crash(client: Any, mode: str, tmp_path: Path) -> None:
    """In a container of its own the episode was forked before any of them was known."""
    (tmp_path / "t.csv").write_text("a\n1\n")
    cell = "import random, numpy\nopen('t.csv').read(), helper(), random.random(), numpy.random.rand()"
    spec = SandboxSpec(
        files={"t.csv": tmp_path / "t.csv"}, writable=("t.csv",), seed=7, preamble="def helper(): return 'here'"
    )

    async def go() -> list[str]:
        backend = make_backend(_config(mode))
        await backend.start()
        said = []
        try:
            for _ in range(2):
                async with await backend.open(spec) as sandbox:
                    said.append((await sandbox.execute(cell)).stdout)
                    assert (await sandbox.execute("import os; os._exit(3)")).status == "crashed"
                    said.append((await sandbox.execute(cell)).stdout)
            with pytest.raises(InfrastructureError, match="ZeroDivisionError"):
                await backend.open(SandboxSpec(preamble="1/0"))
            async with await backend.open(SandboxSpec(seed=8)) as sandbox:
                other = await sandbox.execute("import random\nrandom.random()")
            assert other.stdout.strip() not in said[0]
        finally:
            await backend.close()
        return said

    said = asyncio.run(go())
    assert len(said) == 4
    assert set(said) == {said[0]}
    assert "here" in said[0]


@pytest.mark.parametrize("mode", ["single", "shared"])
def test_a_killed_host_leaves_no_container(client: Any, mode: str, tmp_path: Path) -> None:
    """The stream closes, the container ends and removes itself; what could be left, the next start sweeps."""
    script = f"""
import asyncio, time
from pathlib import Path
from copilot.envs.sandboxes import DockerConfig, SandboxConfig, SandboxSpec, make_backend
from copilot.envs.sandboxes.docker import owner
async def main():
    backend = make_backend(SandboxConfig(type="docker", docker=DockerConfig(mode="{mode}", warm=1)))
    await backend.start()
    sandbox = await backend.open(SandboxSpec())
    asyncio.create_task(sandbox.execute("import time; time.sleep(60)", timeout=20))
    await asyncio.sleep(0.2)
    Path({str(tmp_path / "up")!r}).write_text(owner())
    await asyncio.sleep(600)
asyncio.run(main())
"""
    host = subprocess.Popen([sys.executable, "-c", script])
    try:
        _wait_for(lambda: (tmp_path / "up").exists() and (tmp_path / "up").read_text() != "")
        name = (tmp_path / "up").read_text()
        assert _mine(client, name) >= 1
    finally:
        host.kill()
        host.wait()
    _wait_for(lambda: _mine(client, name) == 0)


def test_leftovers_of_dead_owners_are_swept_and_others_kept(client: Any) -> None:
    from copilot.envs.sandboxes.docker import OWNER, owner, sweep

    host = owner().split(":", maxsplit=1)[0]
    names = {"dead": f"{host}:999999:1", "alive": owner(), "elsewhere": "another-host:1:1"}
    made = {
        key: client.containers.create(DockerConfig().image, entrypoint="sleep 99", labels={OWNER: label})
        for key, label in names.items()
    }
    try:
        sweep(client)
        left = {
            key
            for key, container in made.items()
            if client.containers.list(all=True, ignore_removed=True, filters={"id": container.id})
        }
        assert left == {"alive", "elsewhere"}
    finally:
        for container in client.containers.list(all=True, ignore_removed=True, filters={"label": OWNER}):
            if container.id in {one.id for one in made.values()}:
                container.remove(force=True)


def test_a_missing_image_names_the_remedy(client: Any) -> None:
    config = SandboxConfig(type="docker", docker=DockerConfig(image="no-such-image"))
    with pytest.raises(SandboxError, match="no-such-image") as caught:
        asyncio.run(make_backend(config).start())
    assert caught.value.remedy == "med-copilot sandbox build-image"


def _wait_for(condition: Any) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until, "did not happen in two minutes"
        time.sleep(0.1)
