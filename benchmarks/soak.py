"""Thousands of episodes with hostile cells and random kills; afterwards nothing may be left and nothing forged.

Every episode draws one of several fates: an honest cell, a timeout, a crash, a memory blow-up, a daemon, a forgery, a
close or a cancellation in the middle of a cell. Honest answers are checked; afterwards processes, mounts, descriptors,
temporary files and containers are counted against what was there before.

    python benchmarks/soak.py [--episodes 10000] [--workers 16] [--docker single|shared]
"""

import argparse
import asyncio
import contextlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from _common import RESULTS, write_result
from rich.progress import Progress

from copilot.envs.sandboxes import DockerConfig, SandboxBackend, SandboxConfig, SandboxLimits, SandboxSpec, make_backend
from copilot.errors import InfrastructureError

LIMITS = SandboxLimits(cell_seconds=20, memory_mb=128, processes=32, disk_mb=8, output_chars=2000)
FATES: dict[str, str] = {
    "honest": "",
    "timeout": "while True: pass",
    "stubborn": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "crash": "import os; os._exit(0)",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "memory": "x = bytearray(1 << 30)",
    "daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(999)\n"
    "    os._exit(0)",
    "forge": 'import os, struct\nbody = b\'{"id":2,"status":"ok","out":"FORGED"}\'\nfor fd in range(3, 99):\n'
    "    try: os.write(fd, struct.pack('>I', len(body)) + body)\n    except OSError: pass",
    "flood": "while True: print('x' * 9999)",
    "close": "import time; time.sleep(99)",
    "cancel": "import time; time.sleep(99)",
}


async def episode(backend: SandboxBackend, number: int) -> tuple[str, bool]:
    """One episode: its fate, and whether every honest answer in it was right."""
    draw = random.Random(number)
    fate = draw.choice(list(FATES))
    sandbox = await backend.open(SandboxSpec(seed=number))
    try:
        first = await sandbox.execute(f"kept = {number}\nkept * 2")
        right = first.stdout == f"{number * 2}\n"
        if fate in ("close", "cancel"):
            cell = asyncio.create_task(sandbox.execute(FATES[fate]))
            await asyncio.sleep(draw.random() * 0.02)
            _ = cell.cancel() if fate == "cancel" else await sandbox.close()
            with contextlib.suppress(InfrastructureError, asyncio.CancelledError):
                await cell
            return fate, right
        result = await sandbox.execute(FATES[fate], timeout=0.05 + draw.random() * 0.1)
        last = await sandbox.execute(f"{number} + 1")
        return fate, right and last.stdout.endswith(f"{number + 1}\n") and (
            fate != "crash" or result.status == "crashed"
        )
    finally:
        await sandbox.close()


def census() -> dict[str, Any]:
    """What could be left behind: processes, mounts, descriptors of this process, folders, containers."""
    return {
        "processes": sum(_ours(int(name)) for name in filter(str.isdigit, os.listdir("/proc"))),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "files": len(list(Path(tempfile.gettempdir()).glob("sandbox-*"))),
        "containers": _containers(),
    }


def _ours(pid: int) -> bool:
    """Whether it is a sandbox's process below this one, or one whose host is dead; others belong to live hosts."""
    inside = False
    with contextlib.suppress(OSError):  # it ended meanwhile
        while b"import inside." in Path(f"/proc/{pid}/cmdline").read_bytes():
            inside, pid = True, int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return inside and pid in (1, os.getpid())


def _containers() -> int:
    try:
        import docker
        import docker.errors
    except ImportError:
        return 0
    try:
        client = docker.from_env()
    except docker.errors.DockerException:
        return 0
    with contextlib.closing(client):
        return len(
            client.containers.list(all=True, ignore_removed=True, filters={"label": "org.med-copilot.sandbox.owner"})
        )


async def soak(config: SandboxConfig, episodes: int, workers: int) -> tuple[Counter[str], int, int]:
    """Run the episodes; returns fates, wrong answers and infrastructure failures."""
    backend = make_backend(config)
    await backend.start()
    fates: Counter[str] = Counter()
    wrong = failed = 0
    numbers = iter(range(1, episodes + 1))
    with Progress() as progress:
        bar = progress.add_task("episodes", total=episodes)

        async def worker() -> None:
            nonlocal wrong, failed
            for number in numbers:
                try:
                    fate, right = await episode(backend, number)
                    fates[fate] += 1
                    wrong += not right
                except InfrastructureError as error:
                    failed += 1
                    progress.console.print(f"episode {number}: {error}")
                progress.advance(bar)

        await asyncio.gather(*(worker() for _ in range(workers)))
    await backend.close()
    return fates, wrong, failed


def main() -> None:
    """Soak, compare, write; exit code 1 when something was left or forged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--docker", choices=["single", "shared"])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    config = SandboxConfig(limits=LIMITS)
    if options.docker:
        config = SandboxConfig(
            type="docker", require="container", limits=LIMITS, docker=DockerConfig(mode=options.docker)
        )
    before, began = census(), time.perf_counter()
    fates, wrong, failed = asyncio.run(soak(config, options.episodes, options.workers))
    took = time.perf_counter() - began
    time.sleep(3)
    after = census()
    left = {key: after[key] - before[key] for key in before}
    summary = {"episodes": options.episodes, "forged_or_wrong": wrong, "infrastructure_failures": failed,
               "seconds": round(took, 1), "per_s": round(options.episodes / took, 1),
               **{f"left_{key}": value for key, value in left.items()}}  # fmt: skip
    name = f"soak_{options.docker or 'local'}"
    rows = [{"fate": fate, "episodes": count} for fate, count in sorted(fates.items())]
    write_result(name, summary=summary, rows=rows, seed=0, results=options.results)
    sys.exit(int(wrong > 0 or any(value > 0 for value in left.values())))


if __name__ == "__main__":
    main()
